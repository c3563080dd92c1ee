# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""The fast part of comparing numbers: it finds the rows whose numbers are equal beyond doubt; `engine.convert.numbers`
compares the others.

Like that module it shares no code with the converters. Document and row are read side by side. A row is certain when each number
of the document is found in its place in the row. Anything unusual (a value in `_extra`, a repeated key, a huge double, Extended
JSON) makes it uncertain.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from engine.mapping.model import ColumnType, Role


cdef extern from *:
    """
    typedef unsigned __int128 numbers_uint128;
    """
    ctypedef unsigned long long uint128_t "numbers_uint128"

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, void *overflow) except? -1.0

cdef enum:
    # Element types of bsonspec.org.
    DOUBLE = 0x01
    STRING = 0x02
    DOCUMENT = 0x03
    ARRAY = 0x04
    BINARY = 0x05
    UNDEFINED = 0x06
    OBJECT_ID = 0x07
    BOOL = 0x08
    DATE = 0x09
    NULL_KIND = 0x0A
    REGEX = 0x0B
    JAVASCRIPT = 0x0D
    SYMBOL = 0x0E
    SCOPED = 0x0F
    INT32 = 0x10
    TIMESTAMP = 0x11
    INT64 = 0x12
    DECIMAL = 0x13

cdef enum:
    # What a field's place is.
    IS_LEVEL
    IS_INTEGER
    IS_BIGINT
    IS_DOUBLE
    IS_NUMERIC
    IS_JSON
    IS_OTHER
    IS_IGNORED

cdef enum:
    MOST_DEPTH = 250
    MOST_GROUPS = 9        # of numeric, that 128 bits hold
    MOST_DIGITS = 36
    EXPONENT_BIAS = 6176

cdef struct Entry:
    # A field that has a column, or columns below it.
    const uint8_t *key
    size_t key_size
    int place
    bint is_array
    bint has_version       # jsonb: a byte before the text
    uint32_t column
    uint32_t below         # number of the level
    uint32_t met_in        # number of the last row, from 1, that had this field

cdef struct Level:
    Entry *entries
    uint32_t n_entries
    uint32_t next          # probably the next field's

cdef struct Field:
    const uint8_t *start
    int64_t size           # -1: NULL

cdef struct Element:
    uint8_t kind
    const uint8_t *key
    size_t key_size
    const uint8_t *start
    const uint8_t *end


cdef class UsualRows:
    """Finds the rows of one mapping whose numbers are certainly equal.

    Args:
        mapping: under which the rows were made.
    """

    cdef list kept
    cdef Level *levels
    cdef Field *fields
    cdef uint32_t n_columns
    cdef uint32_t row
    cdef bint is_extended
    cdef int document_column     # -1: none
    cdef bint has_document_version

    def __init__(self, mapping):
        self.kept = []
        self.n_columns = len(mapping.columns)
        self.is_extended = mapping.options.json_values == "extended"
        self.document_column = -1
        for index, column in enumerate(mapping.columns):
            if column.role is Role.DOCUMENT:
                self.document_column = index
                self.has_document_version = column.type is ColumnType.JSONB
        self.fields = <Field *>self._room(self.n_columns, sizeof(Field))
        tree = [{}]
        for index, column in enumerate(mapping.columns):
            if not column.path:
                continue
            level = tree[0]
            *above, key = column.path
            for outer in above:
                if outer.encode() not in level:
                    tree.append({})
                    level[outer.encode()] = len(tree) - 1, None, None
                level = tree[level[outer.encode()][0]]
            level[key.encode()] = None, index, column
        for path in mapping.ignored:
            level = tree[0]
            *above, key = path
            for outer in above:
                below = level.get(outer.encode(), (None,))[0]
                level = tree[below] if below else {}
            level.setdefault(key.encode(), (None, None, None))
        self.levels = <Level *>self._room(len(tree), sizeof(Level))
        for number, level in enumerate(tree):
            self.levels[number].n_entries = len(level)
            self.levels[number].entries = <Entry *>self._room(len(level), sizeof(Entry))
            for at, (key, (below, index, column)) in enumerate(level.items()):
                self._set_entry(&self.levels[number].entries[at], key, below, index, column)

    cdef void *_room(self, size_t n, size_t size) except NULL:
        """Memory for `n` structures, all zeros, that lives as long as this object."""
        room = bytearray(n * size + 1)
        self.kept.append(room)
        return PyByteArray_AS_STRING(room)

    cdef int _set_entry(self, Entry *entry, bytes key, below, index, column) except -1:
        self.kept.append(key)
        entry.key = <const uint8_t *>PyBytes_AS_STRING(key)
        entry.key_size = len(key)
        if column is None:
            entry.place = IS_LEVEL if below else IS_IGNORED
            entry.below = below or 0
            return 0
        entry.column = index
        entry.is_array = column.array
        entry.has_version = column.type is ColumnType.JSONB
        entry.place = {
            ColumnType.INTEGER: IS_INTEGER,
            ColumnType.BIGINT: IS_BIGINT,
            ColumnType.DOUBLE: IS_DOUBLE,
            ColumnType.NUMERIC: IS_NUMERIC,
            ColumnType.JSONB: IS_JSON,
            ColumnType.JSON: IS_JSON,
        }.get(column.type, IS_OTHER)
        return 0

    def uncertain(self, bytes batch, rows):
        """The numbers of the rows that are not certain."""
        found = []
        copied = rows.copy
        cdef const uint8_t[::1] view
        cdef const uint8_t *data
        cdef const uint8_t *documents = <const uint8_t *>PyBytes_AS_STRING(batch)
        cdef size_t begin = 0, end, place, size = len(batch), length
        if not len(rows.row_ends):
            return found
        view = copied
        data = &view[0]
        for number, (row_end, row_document) in enumerate(zip(rows.row_ends, rows.row_documents, strict=True)):
            end = row_end
            place = row_document
            length = get_32(documents + place)
            if place + length > size or not self._is_certain(data + begin, data + end, documents + place, length):
                found.append(number)
            begin = end
        return found

    cdef bint _is_certain(
        self, const uint8_t *row, const uint8_t *row_end, const uint8_t *document, size_t length
    ) except -1:
        cdef uint32_t column
        cdef Field *field
        self.row += 1
        if not self.row:
            self.row = 1
        row += 2
        for column in range(self.n_columns):
            field = &self.fields[column]
            if row_end - row < 4:
                return False
            field.size = <int32_t>big_32(row)
            field.start = row + 4
            row += 4 + (field.size if field.size > 0 else 0)
        if row != row_end or length < 5:
            return False
        if not self._is_level_certain(0, document + 4, document + length - 1):
            return False
        if self.document_column < 0:
            return True
        return self._is_document_certain(document, length)

    cdef bint _is_document_certain(self, const uint8_t *document, size_t length) except -1:
        """The whole document but its `_id`, where it has a column of its own."""
        cdef Field *field = &self.fields[self.document_column]
        cdef const uint8_t *text = field.start + self.has_document_version
        cdef const uint8_t *end = field.start + field.size
        cdef Element whole
        whole.kind = DOCUMENT
        whole.start = document
        whole.end = document + length
        if self.is_extended and holds_numbers(&whole, 0):
            return False
        return field.size > 0 and is_container_certain(&text, end, &whole, 1, True) and text == end

    cdef bint _is_level_certain(self, uint32_t number, const uint8_t *at, const uint8_t *end) except -1:
        cdef Element element
        cdef Entry *entry
        cdef Field *field
        while at < end:
            if not read_element(&element, at, end):
                return False
            at = element.end
            entry = self._entry(number, &element)
            if entry == NULL and number == 0 and self.document_column >= 0:
                continue
            if entry == NULL or entry.met_in == self.row:
                return False
            entry.met_in = self.row
            if entry.place == IS_IGNORED:
                continue
            if entry.place == IS_LEVEL:
                if element.kind == NULL_KIND:
                    continue
                if element.kind != DOCUMENT or element.end - element.start <= 5:
                    return False
                if not self._is_level_certain(entry.below, element.start + 4, element.end - 1):
                    return False
                continue
            if not may_hold_numbers(element.kind):
                continue
            field = &self.fields[entry.column]
            if field.size < 0:
                return False
            if entry.is_array:
                if element.kind != ARRAY or not is_array_certain(entry.place, field, &element):
                    return False
            elif entry.place == IS_JSON:
                if not self._is_json_certain(entry, field, &element):
                    return False
            elif not is_scalar_certain(entry.place, field, &element):
                return False
        return True

    cdef bint _is_json_certain(self, const Entry *entry, const Field *field, const Element *element) except -1:
        cdef const uint8_t *text = field.start + entry.has_version
        cdef const uint8_t *end = field.start + field.size
        if self.is_extended and holds_numbers(element, 0):
            return False
        return is_value_certain(&text, end, element, 0) and text == end

    cdef Entry *_entry(self, uint32_t number, const Element *element) noexcept:
        """The field's entry; fields mostly come in the same order."""
        cdef Level *level = &self.levels[number]
        cdef Entry *entry
        cdef uint32_t step, at = level.next
        for step in range(level.n_entries):
            if at >= level.n_entries:
                at = 0
            entry = &level.entries[at]
            at += 1
            if entry.key_size == element.key_size and memcmp(entry.key, element.key, element.key_size) == 0:
                level.next = at
                return entry
        return NULL


cdef inline uint32_t get_32(const uint8_t *at) noexcept:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint64_t get_64(const uint8_t *at) noexcept:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


cdef inline uint32_t big_32(const uint8_t *at) noexcept:
    return <uint32_t>at[0] << 24 | <uint32_t>at[1] << 16 | <uint32_t>at[2] << 8 | at[3]


cdef inline uint64_t big_64(const uint8_t *at) noexcept:
    return <uint64_t>big_32(at) << 32 | big_32(at + 4)


cdef inline uint16_t big_16(const uint8_t *at) noexcept:
    return <uint16_t>at[0] << 8 | at[1]


cdef inline bint may_hold_numbers(uint8_t kind) noexcept:
    return (
        kind == DOUBLE or kind == INT32 or kind == INT64 or kind == DECIMAL or kind == DOCUMENT or kind == ARRAY
        or kind == TIMESTAMP or kind == SCOPED
    )


cdef bint read_element(Element *element, const uint8_t *at, const uint8_t *end) noexcept:
    """The element at `at`, if all of it lies before `end`."""
    cdef const uint8_t *nul = <const uint8_t *>memchr(at + 1, 0, end - at - 1)
    cdef int64_t size = -1, extra = 0
    cdef uint8_t kind = at[0]
    if nul == NULL:
        return False
    element.kind = kind
    element.key = at + 1
    element.key_size = nul - at - 1
    element.start = nul + 1
    if kind == INT32:
        size = 4
    elif kind == DOUBLE or kind == INT64 or kind == DATE or kind == TIMESTAMP:
        size = 8
    elif kind == OBJECT_ID:
        size = 12
    elif kind == BOOL:
        size = 1
    elif kind == NULL_KIND or kind == UNDEFINED or kind == 0x7F or kind == 0xFF:
        size = 0
    elif kind == DECIMAL:
        size = 16
    elif kind == REGEX:
        nul = <const uint8_t *>memchr(element.start, 0, end - element.start)
        if nul != NULL:
            nul = <const uint8_t *>memchr(nul + 1, 0, end - nul - 1)
        if nul == NULL:
            return False
        size = nul + 1 - element.start
    else:
        if end - element.start < 4:
            return False
        if kind == STRING or kind == JAVASCRIPT or kind == SYMBOL:
            extra = 4
        elif kind == BINARY:
            extra = 5
        elif kind == 0x0C:
            extra = 16
        elif kind != DOCUMENT and kind != ARRAY and kind != SCOPED:
            return False
        size = <int32_t>get_32(element.start)
        if size < 0:
            return False
        size += extra
    element.end = element.start + size
    return end - element.start >= size


cdef bint holds_numbers(const Element *element, int depth) noexcept:
    """Whether there is a number in a value; True when in doubt."""
    cdef const uint8_t *at = element.start + 4
    cdef Element inner
    if element.kind != DOCUMENT and element.kind != ARRAY:
        return may_hold_numbers(element.kind)
    if depth > MOST_DEPTH:
        return True
    while at < element.end - 1:
        if not read_element(&inner, at, element.end - 1) or holds_numbers(&inner, depth + 1):
            return True
        at = inner.end
    return False


# --- columns ----------------------------------------------------------------------------------------------------------


cdef bint is_scalar_certain(int place, const Field *field, const Element *element) noexcept:
    """Whether a number is what its column, or the element of an array, holds."""
    cdef uint8_t kind = element.kind
    cdef int64_t number, found
    cdef uint64_t bits
    cdef double real
    if place == IS_NUMERIC:
        return is_numeric_certain(field, element)
    if kind == INT32:
        number = <int32_t>get_32(element.start)
    elif kind == INT64:
        number = <int64_t>get_64(element.start)
    elif kind == DOUBLE:
        return place == IS_DOUBLE and field.size == 8 and big_64(field.start) == get_64(element.start)
    else:
        # No place for it but JSON, unless there is no number in it.
        return place == IS_OTHER and (kind == DOCUMENT or kind == ARRAY) and not holds_numbers(element, 0)
    if place == IS_INTEGER and field.size == 4:
        return number == <int32_t>big_32(field.start)
    if place == IS_BIGINT and field.size == 8:
        return number == <int64_t>big_64(field.start)
    if place == IS_DOUBLE and field.size == 8:
        bits = big_64(field.start)
        memcpy(&real, &bits, 8)
        if not -9007199254740992.0 <= real <= 9007199254740992.0:
            return False
        found = <int64_t>real
        return <double>found == real and found == number
    return False


cdef bint is_array_certain(int place, const Field *field, const Element *array) noexcept:
    """Whether the numbers of an array are what a native array holds."""
    cdef const uint8_t *at = array.start + 4
    cdef const uint8_t *found = field.start + 20
    cdef const uint8_t *end = field.start + field.size
    cdef Element element
    cdef Field inner
    cdef uint32_t left
    if not holds_numbers(array, 0):
        return True
    if field.size < 20 or big_32(field.start) != 1:
        return False
    left = big_32(field.start + 12)
    while at < array.end - 1:
        if not left or end - found < 4 or not read_element(&element, at, array.end - 1):
            return False
        at = element.end
        left -= 1
        inner.size = <int32_t>big_32(found)
        inner.start = found + 4
        if inner.size < 0:
            found += 4
            if element.kind != NULL_KIND:
                return False
            continue
        found += 4 + inner.size
        if found > end or not may_hold_numbers(element.kind) or not is_scalar_certain(place, &inner, &element):
            return False
    return left == 0


cdef bint is_numeric_certain(const Field *field, const Element *element) noexcept:
    """Whether an integer or a Decimal128 is a numeric, its last digits included."""
    cdef uint128_t coefficient, value = 0
    cdef int exponent, power, at, n_groups
    cdef bint is_negative
    if not read_digits(element, &is_negative, &coefficient, &exponent) or exponent > 0 or field.size < 8:
        return False
    n_groups = big_16(field.start)
    if n_groups > MOST_GROUPS or field.size != 8 + 2 * n_groups:
        return False
    if big_16(field.start + 4) != (0x4000 if is_negative else 0) or big_16(field.start + 6) != -exponent:
        return False
    for at in range(n_groups):
        value = value * 10000 + big_16(field.start + 8 + 2 * at)
    # The last group counts 10,000 ** (weight - n_groups + 1); the coefficient, 10 ** exponent.
    power = 4 * (<int>(<int16_t>big_16(field.start + 2)) - n_groups + 1) - exponent
    if not value:
        return not coefficient and not is_negative
    return is_scaled(value, power, coefficient)


cdef bint is_scaled(uint128_t value, int power, uint128_t expected) noexcept:
    """Whether value * 10 ** power is a number that is not 0."""
    if power < 0:
        while power and expected < most():
            expected *= 10
            power += 1
    else:
        while power and value < most():
            value *= 10
            power -= 1
    return power == 0 and value == expected


cdef inline uint128_t most() noexcept:
    """10 ** 37: ten times as much still fits 128 bits."""
    cdef uint128_t half = <uint64_t>1000000000000000000
    return half * half * 10


cdef bint read_digits(const Element *element, bint *is_negative, uint128_t *coefficient, int *exponent) noexcept:
    """An integer or a finite Decimal128 as coefficient * 10 ** exponent; False for what is no such number, or is -0."""
    cdef int64_t number
    cdef uint64_t low, high
    cdef uint128_t limit
    if element.kind == DECIMAL:
        low = get_64(element.start)
        high = get_64(element.start + 8)
        if (high >> 61 & 3) == 3:
            return False
        is_negative[0] = high >> 63
        coefficient[0] = high & 0x1FFFFFFFFFFFF
        coefficient[0] = coefficient[0] << 64 | low
        exponent[0] = <int>(high >> 49 & 0x3FFF) - EXPONENT_BIAS
        limit = <uint64_t>100000000000000000
        return coefficient[0] < limit * limit and (coefficient[0] or not is_negative[0])
    if element.kind != INT32 and element.kind != INT64:
        return False
    number = <int32_t>get_32(element.start) if element.kind == INT32 else <int64_t>get_64(element.start)
    is_negative[0] = number < 0
    coefficient[0] = -<uint64_t>number if number < 0 else <uint64_t>number
    exponent[0] = 0
    return True


# --- JSON, as it was written: the fields in the order of the document -------------------------------------------------


cdef bint is_value_certain(const uint8_t **text, const uint8_t *end, const Element *element, int depth) except -1:
    """Whether what stands at `text` is this value, as far as numbers go; moves behind it."""
    cdef uint8_t kind = element.kind
    if text[0] >= end:
        return False
    if kind == DOCUMENT or kind == ARRAY:
        return depth < MOST_DEPTH and is_container_certain(text, end, element, depth + 1, False)
    if kind == DOUBLE:
        return is_double_certain(text, end, get_64(element.start))
    if kind == INT32 or kind == INT64 or kind == DECIMAL:
        return are_digits_certain(text, end, element)
    if kind == TIMESTAMP or kind == SCOPED or text[0][0] == c"{":
        return False
    if text[0][0] == c'"':
        return skip_string(text, end)
    while text[0] < end and c"a" <= text[0][0] <= c"z":
        text[0] += 1
    return True


cdef bint is_container_certain(
    const uint8_t **text, const uint8_t *end, const Element *element, int depth, bint without_id
) except -1:
    cdef const uint8_t *at = element.start + 4
    cdef bint is_object = element.kind == DOCUMENT
    cdef bint is_first = True
    cdef Element inner
    if text[0][0] != (c"{" if is_object else c"["):
        return False
    text[0] += 1
    while at < element.end - 1:
        if not read_element(&inner, at, element.end - 1):
            return False
        at = inner.end
        if without_id and inner.key_size == 3 and memcmp(inner.key, b"_id", 3) == 0:
            continue
        if not is_first:
            if text[0] >= end or text[0][0] != c",":
                return False
            text[0] += 1
        is_first = False
        if is_object and not skip_key(text, end, &inner):
            return False
        if not is_value_certain(text, end, &inner, depth):
            return False
    if text[0] >= end or text[0][0] != (c"}" if is_object else c"]"):
        return False
    text[0] += 1
    return True


cdef bint skip_key(const uint8_t **text, const uint8_t *end, const Element *element) noexcept:
    """Move behind a key that is spelled as in the document."""
    cdef size_t size = element.key_size
    if <size_t>(end - text[0]) < size + 3 or text[0][0] != c'"' or memcmp(text[0] + 1, element.key, size):
        return False
    text[0] += size + 1
    if text[0][0] != c'"' or text[0][1] != c":":
        return False
    text[0] += 2
    return True


cdef bint skip_string(const uint8_t **text, const uint8_t *end) noexcept:
    """Move behind a string."""
    cdef const uint8_t *at = text[0] + 1
    while at < end and at[0] != c'"':
        at += 2 if at[0] == c"\\" else 1
    text[0] = at + 1
    return at < end


cdef bint are_digits_certain(const uint8_t **text, const uint8_t *end, const Element *element) noexcept:
    """Whether an integer or a Decimal128 stands there, digit for digit and without an exponent."""
    cdef const uint8_t *at = text[0]
    cdef uint128_t coefficient, value = 0
    cdef int exponent, n_digits = 0, n_behind = 0
    cdef bint is_negative, is_behind = False
    if not read_digits(element, &is_negative, &coefficient, &exponent):
        return False
    if (at[0] == c"-") != is_negative:
        return False
    at += is_negative
    while at < end:
        if c"0" <= at[0] <= c"9":
            value = value * 10 + (at[0] - c"0")
            n_digits += 1
            n_behind += is_behind
        elif at[0] == c"." and not is_behind:
            is_behind = True
        else:
            break
        at += 1
    text[0] = at
    return 0 < n_digits <= MOST_DIGITS and value == coefficient and n_behind == -exponent


cdef bint is_double_certain(const uint8_t **text, const uint8_t *end, uint64_t bits) except -1:
    """Whether digits stand there that read back as the same double, and are exactly its value if it is whole."""
    cdef const uint8_t *at = text[0]
    cdef char *behind = NULL
    cdef double expected, found
    cdef int64_t whole = 0
    cdef int n_digits = 0
    memcpy(&expected, &bits, 8)
    if not -9007199254740992.0 < expected < 9007199254740992.0 or bits == <uint64_t>1 << 63:
        return False
    if <double><int64_t>expected == expected:
        at += at[0] == c"-"
        while at < end and c"0" <= at[0] <= c"9" and n_digits < 17:
            whole = whole * 10 + (at[0] - c"0")
            n_digits += 1
            at += 1
        if not n_digits or end - at < 2 or at[0] != c"." or at[1] != c"0":
            return False
        at += 2
        if at < end and (c"0" <= at[0] <= c"9" or at[0] == c"e" or at[0] == c"E"):
            return False
        if (text[0][0] == c"-") != (expected < 0):
            return False
        text[0] = at
        return (-whole if expected < 0 else whole) == <int64_t>expected
    if not (at[0] == c"-" or c"0" <= at[0] <= c"9"):
        return False
    # What follows is a comma or a bracket, or the NUL behind a buffer's last byte.
    if at + 30 >= end:
        return is_last_double_certain(text, end, expected)
    found = PyOS_string_to_double(<const char *>at, &behind, NULL)
    text[0] = <const uint8_t *>behind
    return found == expected and text[0] <= end


cdef bint is_last_double_certain(const uint8_t **text, const uint8_t *end, double expected) except -1:
    """The same for digits near the end of what can be read, with a NUL behind them."""
    cdef char copied[32]
    cdef char *behind = NULL
    cdef size_t size = end - text[0]
    cdef double found
    if size > 31:
        return False
    memcpy(copied, text[0], size)
    copied[size] = 0
    found = PyOS_string_to_double(copied, &behind, NULL)
    text[0] += behind - copied
    return found == expected
