# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""Text for the native converter: UTF-8 under the policies of its field, JSON strings, hex digits and base64."""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy

from engine.convert.native_memory cimport NO_MEMORY, OK, Buffer, Span, append, load_word, reserve
from engine.convert.native_work cimport (
    HIT_NUL_REPLACE,
    HIT_NUL_STRIP,
    HIT_UTF8_REPLACE,
    REASON_NUL,
    REASON_UTF8,
    REJECT,
    STRIP,
    Style,
    Work,
    fault,
    hit,
)


cdef extern from *:
    """
    static const char native_hex[] = "0123456789abcdef";
    static const char native_base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* By control character: the letter behind the backslash; 'u' stands for four hex digits. */
    static const char native_escapes[] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu";
    """
    const char *HEX "native_hex"
    const char *BASE64 "native_base64"
    const char *ESCAPES "native_escapes"

cdef enum:
    REPLACEMENT_SIZE = 3  # bytes of U+FFFD

# A word is tested for bytes of interest at once: subtracting borrows into the high bit of a byte that was below
# (Warren, "Hacker's Delight", 6-1). Bytes behind a match may match falsely, which only sends them the slow way.


cdef inline uint64_t high_bits(uint64_t word) noexcept nogil:
    """Not 0 when a byte is not ASCII."""
    return word & <uint64_t>0x8080808080808080


cdef inline uint64_t zero_bytes(uint64_t word) noexcept nogil:
    """Not 0 when a byte is 0."""
    return (word - <uint64_t>0x0101010101010101) & ~word & <uint64_t>0x8080808080808080


cdef inline uint64_t not_as_is(uint64_t word) noexcept nogil:
    """Not 0 when a byte cannot stand in a JSON string as it is, or is not ASCII."""
    return (
        high_bits(word)
        | ((word - <uint64_t>0x2020202020202020) & ~word & <uint64_t>0x8080808080808080)
        | zero_bytes(word ^ <uint64_t>0x2222222222222222)
        | zero_bytes(word ^ <uint64_t>0x5C5C5C5C5C5C5C5C)
    )


cdef inline bint is_plain_ascii(const uint8_t *text, size_t size) noexcept nogil:
    """Whether there is neither a NUL nor a byte that is not ASCII."""
    cdef uint64_t found = 0
    cdef size_t at = 0
    if size >= 8:
        while at + 8 <= size:
            found |= high_bits(load_word(text + at)) | zero_bytes(load_word(text + at))
            at += 8
        found |= high_bits(load_word(text + size - 8)) | zero_bytes(load_word(text + size - 8))
        return not found
    while at < size:
        if <uint8_t>(text[at] - 1) >= 0x7F:
            return False
        at += 1
    return True


cdef inline int sequence(const uint8_t *text, size_t size) noexcept nogil:
    """Bytes of the character that begins here, which is at least one byte.

    Negative: it is not UTF-8 (RFC 3629), and this is the maximal part that U+FFFD stands for (Unicode Standard, 3.9).
    """
    cdef uint8_t first = text[0]
    cdef uint8_t low = 0x80, high = 0xBF
    cdef int expected, length
    if first < 0x80:
        return 1
    if first < 0xC2 or first > 0xF4:
        return -1
    if first < 0xE0:
        expected = 2
    elif first < 0xF0:
        expected = 3
        if first == 0xE0:
            low = 0xA0
        elif first == 0xED:
            high = 0x9F
    else:
        expected = 4
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F
    length = 1
    while length < expected:
        if <size_t>length == size or text[length] < low or text[length] > high:
            return -length
        low = 0x80
        high = 0xBF
        length += 1
    return expected


cdef inline bint is_utf8(const uint8_t *text, size_t size) noexcept nogil:
    """Whether all of it is UTF-8."""
    cdef size_t at = 0
    cdef int length
    while at < size:
        if size - at >= 8 and not high_bits(load_word(text + at)):
            at += 8
            continue
        length = sequence(text + at, size - at)
        if length < 0:
            return False
        at += length
    return True


cdef inline int clean(Work *work, const Style *style, Span *text) noexcept nogil:
    """Apply the policies for UTF-8 and then for NUL; what they touched lies in `work.cleaned` until the next call."""
    cdef bint is_valid = is_utf8(text.data, text.size)
    cdef bint has_nul = memchr(text.data, 0, text.size) != NULL
    cdef Buffer *cleaned = &work.cleaned
    cdef size_t at = 0
    cdef int length
    if not is_valid:
        if style.utf8 == REJECT:
            return fault(work, REASON_UTF8)
        hit(work, HIT_UTF8_REPLACE)
    if has_nul:
        if style.nul == REJECT:
            return fault(work, REASON_NUL)
        hit(work, HIT_NUL_STRIP if style.nul == STRIP else HIT_NUL_REPLACE)
    if is_valid and not has_nul:
        return OK
    cleaned.size = 0
    while at < text.size:
        length = sequence(text.data + at, text.size - at)
        if length < 0 or not text.data[at]:
            length = length if length > 0 else -length
            if text.data[at] or style.nul != STRIP:
                if append(cleaned, b"\xef\xbf\xbd", REPLACEMENT_SIZE) < 0:
                    return NO_MEMORY
        elif append(cleaned, text.data + at, length) < 0:
            return NO_MEMORY
        at += length
    text.data = cleaned.data
    text.size = cleaned.size
    return OK


cdef inline int write_text(
    Work *work, Buffer *out, const Style *style, const uint8_t *text, size_t size
) noexcept nogil:
    """A text under the policies of its field."""
    cdef Span span
    cdef int code
    if not is_plain_ascii(text, size):
        span.data = text
        span.size = size
        code = clean(work, style, &span)
        if code < 0:
            return code
        return append(out, span.data, span.size)
    return append(out, text, size)


cdef inline int write_quoted(
    Work *work, Buffer *out, const Style *style, const uint8_t *text, size_t size
) noexcept nogil:
    """A text as a JSON string under the policies of its field."""
    cdef uint8_t *to
    cdef uint64_t word
    cdef size_t at = 0
    cdef Span span
    cdef int code
    if reserve(out, size + 2) < 0:
        return NO_MEMORY
    to = out.data + out.size
    to[0] = c'"'
    to += 1
    if size >= 8:
        while at + 8 <= size:
            word = load_word(text + at)
            if not_as_is(word):
                break
            memcpy(to + at, &word, 8)
            at += 8
        else:
            word = load_word(text + size - 8)
            if not not_as_is(word):
                memcpy(to + size - 8, &word, 8)
                at = size
    else:
        while at < size and text[at] >= 0x20 and text[at] < 0x80 and text[at] != c'"' and text[at] != c'\\':
            to[at] = text[at]
            at += 1
    if at == size:
        to[size] = c'"'
        out.size += size + 2
        return OK
    span.data = text
    span.size = size
    if not is_plain_ascii(text, size):
        code = clean(work, style, &span)
        if code < 0:
            return code
    return write_escaped(out, span.data, span.size)


cdef inline int write_escaped(Buffer *out, const uint8_t *text, size_t size) noexcept nogil:
    """Clean text as a JSON string, character by character where one has to be escaped."""
    cdef size_t at = 0, run = 0
    cdef uint8_t character
    cdef uint8_t escape[6]
    if append(out, b'"', 1) < 0:
        return NO_MEMORY
    while True:
        while at < size and text[at] >= 0x20 and text[at] != c'"' and text[at] != c'\\':
            at += 1
        if append(out, text + run, at - run) < 0:
            return NO_MEMORY
        if at == size:
            return append(out, b'"', 1)
        character = text[at]
        escape[0] = c"\\"
        escape[1] = ESCAPES[character] if character < 0x20 else character
        if escape[1] == c"u":
            escape[2] = escape[3] = c"0"
            escape[4] = HEX[character >> 4]
            escape[5] = HEX[character & 0xF]
        if append(out, escape, 6 if escape[1] == c"u" else 2) < 0:
            return NO_MEMORY
        at += 1
        run = at


cdef inline int write_hex(Buffer *out, const uint8_t *data, size_t size) noexcept nogil:
    """Two small hex digits a byte."""
    cdef size_t at
    cdef uint8_t *to
    if reserve(out, 2 * size) < 0:
        return NO_MEMORY
    to = out.data + out.size
    for at in range(size):
        to[2 * at] = HEX[data[at] >> 4]
        to[2 * at + 1] = HEX[data[at] & 0xF]
    out.size += 2 * size
    return OK


cdef inline int write_uuid_text(Buffer *out, const uint8_t *uuid) noexcept nogil:
    """Sixteen bytes as the usual five groups of hex digits."""
    cdef int at
    if reserve(out, 36) < 0:
        return NO_MEMORY
    for at in range(16):
        if at == 4 or at == 6 or at == 8 or at == 10:
            out.data[out.size] = c"-"
            out.size += 1
        write_hex(out, uuid + at, 1)
    return OK


cdef inline int write_base64(Buffer *out, const uint8_t *data, size_t size) noexcept nogil:
    """Base64, padded."""
    cdef uint32_t group
    cdef size_t at = 0
    cdef uint8_t *to
    if reserve(out, (size + 2) // 3 * 4) < 0:
        return NO_MEMORY
    to = out.data + out.size
    while at < size:
        group = <uint32_t>data[at] << 16
        if at + 1 < size:
            group |= <uint32_t>data[at + 1] << 8
        if at + 2 < size:
            group |= data[at + 2]
        to[0] = BASE64[group >> 18]
        to[1] = BASE64[group >> 12 & 0x3F]
        to[2] = BASE64[group >> 6 & 0x3F] if at + 1 < size else c"="
        to[3] = BASE64[group & 0x3F] if at + 2 < size else c"="
        to += 4
        at += 3
    out.size += (size + 2) // 3 * 4
    return OK
