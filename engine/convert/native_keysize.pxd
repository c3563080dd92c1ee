# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""How long a jsonb `_id` becomes inside an index: the sum of `engine.convert.keysize`, without parsing."""

from libc.stdint cimport uint8_t


cdef enum:
    MAX_KEY_BYTES = 2600                  # of `engine.mapping.limits`
    ALWAYS_SHORT = MAX_KEY_BYTES // 10    # and the next three of `engine.convert.keysize`
    HEADER = 4
    ENTRY = 4
    ALIGNMENT = 3


cdef inline size_t jsonb_size(const uint8_t *text, size_t length) noexcept nogil:
    """An upper bound of the bytes of JSON text that this converter has written, as jsonb."""
    cdef const uint8_t *end = text + length
    cdef size_t size = 2 * HEADER, n_bytes
    cdef const uint8_t *begin
    cdef bint is_after_colon = False
    while text < end:
        begin = text
        text += 1
        if begin[0] == c'"':
            n_bytes = 0
            while text[0] != c'"':
                if text[0] == c'\\':
                    text += 5 if text[1] == c"u" else 1
                text += 1
                n_bytes += 1
            text += 1
            size += n_bytes
            if text < end and text[0] == c":":
                # A key: its own entry, and that of its value, which the colon then stands for.
                size += 2 * ENTRY
                text += 1
                is_after_colon = True
                continue
        elif begin[0] == c"{" or begin[0] == c"[":
            size += ALIGNMENT + HEADER
        elif begin[0] == c"-" or c"0" <= begin[0] <= c"9":
            while text < end and text[0] != c"," and text[0] != c"]" and text[0] != c"}":
                text += 1
            size += ALIGNMENT + HEADER + HEADER + 2 * ((text - begin + 6) // 4)
        elif begin[0] == c"t" or begin[0] == c"f" or begin[0] == c"n":
            while text < end and c"a" <= text[0] <= c"z":
                text += 1
        else:
            continue
        # An element of an array, or the value that is not inside anything.
        if not is_after_colon:
            size += ENTRY
        is_after_colon = False
    return size
