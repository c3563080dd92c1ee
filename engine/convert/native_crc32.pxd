# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""zlib's crc32, sixteen bytes a step, so that no library has to be there when the package is built.

Method: "Slicing-by-8" (Kounavis and Berry, Intel, 2005), with sixteen tables.
"""

from libc.stdint cimport uint32_t, uint8_t

from engine.convert.native_memory cimport get_32


cdef extern from *:
    """
    static uint32_t native_crc_tables[16][256];
    """
    uint32_t crc_tables "native_crc_tables"[16][256]

cdef enum:
    POLYNOMIAL = 0xEDB88320  # of ISO 3309, bits reversed


cdef inline void make_crc_tables() noexcept nogil:
    """Fill the tables; once, before the first `crc32`."""
    cdef uint32_t value
    cdef int byte, bit, table
    for byte in range(256):
        value = byte
        for bit in range(8):
            value = value >> 1 ^ (<uint32_t>POLYNOMIAL if value & 1 else 0)
        crc_tables[0][byte] = value
    for byte in range(256):
        for table in range(1, 16):
            value = crc_tables[table - 1][byte]
            crc_tables[table][byte] = value >> 8 ^ crc_tables[0][value & 0xFF]


cdef inline uint32_t crc32(const uint8_t *data, size_t size) noexcept nogil:
    """The checksum of some bytes."""
    cdef uint32_t crc = 0xFFFFFFFF
    cdef uint32_t a, b, c, d
    while size >= 16:
        a = get_32(data) ^ crc
        b = get_32(data + 4)
        c = get_32(data + 8)
        d = get_32(data + 12)
        crc = (
            crc_tables[15][a & 0xFF] ^ crc_tables[14][a >> 8 & 0xFF]
            ^ crc_tables[13][a >> 16 & 0xFF] ^ crc_tables[12][a >> 24]
            ^ crc_tables[11][b & 0xFF] ^ crc_tables[10][b >> 8 & 0xFF]
            ^ crc_tables[9][b >> 16 & 0xFF] ^ crc_tables[8][b >> 24]
            ^ crc_tables[7][c & 0xFF] ^ crc_tables[6][c >> 8 & 0xFF]
            ^ crc_tables[5][c >> 16 & 0xFF] ^ crc_tables[4][c >> 24]
            ^ crc_tables[3][d & 0xFF] ^ crc_tables[2][d >> 8 & 0xFF]
            ^ crc_tables[1][d >> 16 & 0xFF] ^ crc_tables[0][d >> 24]
        )
        data += 16
        size -= 16
    while size:
        crc = crc >> 8 ^ crc_tables[0][(crc ^ data[0]) & 0xFF]
        data += 1
        size -= 1
    return ~crc
