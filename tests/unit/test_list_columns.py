"""How the columns of a list share its width."""

from __future__ import annotations

from tui.cockpit.widgets.listing import ListColumn, widths

NAMES = ListColumn("collection")
COUNT = ListColumn("rows", 12, is_right=True, gives_room=True)
RESULT = ListColumn("result", 15)


def test_columns_of_numbers_give_what_they_do_not_need_to_names() -> None:
    assert widths([NAMES, COUNT, RESULT], 60, [40, 7, 9]) == [34, 7, 15]


def test_they_keep_it_where_the_names_have_room() -> None:
    assert widths([NAMES, COUNT, RESULT], 60, [10, 7, 9]) == [29, 12, 15]


def test_a_column_is_left_out_only_where_its_least_has_no_room() -> None:
    table = ListColumn("table", on_narrow=False)
    assert widths([NAMES, table, COUNT, RESULT], 60, [16, 16, 7, 9]) == [16, 16, 7, 15]
    assert widths([NAMES, table, COUNT, RESULT], 55, [16, 16, 7, 9])[1] == 0
