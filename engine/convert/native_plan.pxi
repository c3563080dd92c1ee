# A mapping compiled for the native converter: part of native.pyx.

cdef dict CHOICES = {
    "reject": REJECT, "strip": STRIP, "replace": REPLACE, "null": MAKE_NULL, "clamp": CLAMP,
    "infinity": MAKE_INFINITE, "overflow": KEEP,
}
cdef dict BYTE_ORDERS = {"": AS_BINARY, "python": PYTHON, "java": JAVA, "csharp": CSHARP}

cdef dict TEXT_OPERATIONS = {
    **{kind: OP_STRING for kind in STRING_KINDS},
    Kind.OBJECT_ID: OP_OBJECT_ID_TEXT,
    Kind.REGEX: OP_REGEX,
    Kind.UUID: OP_UUID_TEXT,
    Kind.BINARY: OP_BASE64,
    Kind.UUID_LEGACY: OP_BASE64,
    **{kind: OP_BASE64 for kind in VECTORS},
    Kind.BOOL: OP_BOOL_TEXT,
    Kind.DATE: OP_DATE_TEXT,
    Kind.INT32: OP_INT32_TEXT,
    Kind.INT64: OP_INT64_TEXT,
    Kind.DOUBLE: OP_DOUBLE_TEXT,
    Kind.DECIMAL128: OP_DECIMAL128_TEXT,
}
"""Kinds that a text column holds as something else than JSON."""

cdef dict OPERATIONS = {
    ColumnType.INTEGER: {
        Kind.INT32: OP_TURN_4,
        Kind.INT64: OP_INT64_AS_INTEGER,
        Kind.DOUBLE: OP_DOUBLE_AS_INTEGER,
    },
    ColumnType.BIGINT: {Kind.INT32: OP_INT32_AS_BIGINT, Kind.INT64: OP_TURN_8, Kind.DOUBLE: OP_DOUBLE_AS_BIGINT},
    ColumnType.DOUBLE: {Kind.DOUBLE: OP_TURN_8, Kind.INT32: OP_INT32_AS_DOUBLE, Kind.INT64: OP_INT64_AS_DOUBLE},
    ColumnType.NUMERIC: {
        Kind.INT32: OP_INT32_AS_NUMERIC,
        Kind.INT64: OP_INT64_AS_NUMERIC,
        Kind.DOUBLE: OP_DOUBLE_AS_NUMERIC,
        Kind.DECIMAL128: OP_DECIMAL128_AS_NUMERIC,
    },
    ColumnType.BOOLEAN: {Kind.BOOL: OP_BOOL},
    ColumnType.TIMESTAMPTZ: {Kind.DATE: OP_DATE},
    ColumnType.UUID: {Kind.UUID: OP_UUID, Kind.UUID_LEGACY: OP_UUID},
    ColumnType.BYTEA: {Kind.OBJECT_ID: OP_OBJECT_ID_BYTES, **{kind: OP_BYTEA for kind in BINARY_KINDS}},
    ColumnType.REAL_ARRAY: {Kind.VECTOR_FLOAT32: OP_REAL_ARRAY},
    ColumnType.SMALLINT_ARRAY: {Kind.VECTOR_INT8: OP_SMALLINT_ARRAY},
    ColumnType.BIT_VARYING: {Kind.VECTOR_BITS: OP_BITS},
    ColumnType.VECTOR: {Kind.VECTOR_FLOAT32: OP_VECTOR, Kind.ARRAY: OP_NUMBERS_AS_VECTOR},
}
"""How the other scalar columns take each kind; those of columns that were there already, before they are narrowed."""
OPERATIONS[ColumnType.SMALLINT] = OPERATIONS[ColumnType.INTEGER]
OPERATIONS[ColumnType.REAL] = OPERATIONS[ColumnType.DOUBLE]
OPERATIONS[ColumnType.DATE] = OPERATIONS[ColumnType.TIMESTAMPTZ]

cdef dict NARROWED = {
    ColumnType.SMALLINT: NARROW_SMALLINT, ColumnType.REAL: NARROW_REAL, ColumnType.DATE: NARROW_DATE,
}


def make_powers():
    """Fill the powers of ten that `native_doubles` multiplies with."""
    for exponent in range(FIRST_POWER, LAST_POWER + 1):
        power = 10 ** abs(exponent)
        n_bits = power.bit_length()
        if exponent < 0:
            rounded_up = -(-(1 << 127 + n_bits) // power)
        elif n_bits <= 128:
            rounded_up = power << 128 - n_bits
        else:
            rounded_up = -(-power >> n_bits - 128)
        powers[exponent - FIRST_POWER][0] = rounded_up >> 64
        powers[exponent - FIRST_POWER][1] = rounded_up & 0xFFFF_FFFF_FFFF_FFFF


cdef class CompiledMapping:
    """The C structures of a mapping, and the Python objects that own their memory."""

    cdef Plan plan
    cdef list kept

    def __cinit__(self, mapping):
        self.kept = []
        plan = &self.plan
        options = mapping.options
        columns = mapping.columns
        roles = {column.role: index for index, column in enumerate(columns)}
        plan.id_column = roles[ColumnRole.ID]
        plan.document_column = roles.get(ColumnRole.DOCUMENT, -1)
        plan.extra_column = roles.get(ColumnRole.EXTRA, -1)
        plan.missing_column = roles.get(ColumnRole.MISSING, -1)
        plan.has_to_have_id = not mapping.id_column.nullable
        plan.seed = int.from_bytes(os.urandom(8), "little")
        self._set_style(&plan.rest, None, options)
        plan.n_columns = len(columns)
        plan.columns = <Column *>self._room(len(columns), sizeof(Column))
        for index, column in enumerate(columns):
            self._set_column(&plan.columns[index], column, options)
        self._set_levels(mapping)
        tracked = [index for index, column in enumerate(columns) if column.role is ColumnRole.FIELD]
        plan.n_tracked = len(tracked)
        plan.tracked = self._indexes(tracked)
        plan.tracked_names = <Span *>self._room(len(tracked), sizeof(Span))
        for number, index in enumerate(tracked):
            self._set_span(&plan.tracked_names[number], with_length(show_path(columns[index].path).encode()))
        self._set_constraints(constraints(mapping))

    cdef void *_room(self, size_t n, size_t size) except NULL:
        """Memory for `n` structures, all zeros, that lives as long as this object."""
        room = bytearray(n * size + 1)
        self.kept.append(room)
        return PyByteArray_AS_STRING(room)

    cdef uint32_t *_indexes(self, indexes) except NULL:
        """Numbers as a C array."""
        cdef uint32_t *room = <uint32_t *>self._room(len(indexes), sizeof(uint32_t))
        for number, index in enumerate(indexes):
            room[number] = index
        return room

    cdef int _set_span(self, Span *span, bytes data) except -1:
        """Point at bytes, and keep them."""
        self.kept.append(data)
        span.data = <const uint8_t *>PyBytes_AS_STRING(data)
        span.size = len(data)
        return 0

    cdef int _set_constraints(self, list found) except -1:
        """What the table refuses in some columns."""
        cdef Constraint *compiled
        self.plan.n_constraints = len(found)
        self.plan.constraints = <Constraint *>self._room(len(found), sizeof(Constraint))
        for number, constraint in enumerate(found):
            compiled = &self.plan.constraints[number]
            compiled.column = constraint.column
            compiled.is_required = constraint.is_required
            compiled.length = constraint.length
            compiled.n_path = len(constraint.path)
            compiled.path = <Span *>self._room(compiled.n_path, sizeof(Span))
            for depth, key in enumerate(constraint.path):
                self._set_span(&compiled.path[depth], key)
        return 0

    cdef int _set_style(self, Style *style, column, options) except -1:
        """Policies of a column, or of fields without one."""
        policies = Policies.of(column, options)
        style.nul = CHOICES[policies.nul]
        style.utf8 = CHOICES[policies.utf8]
        style.date_range = CHOICES[policies.date_range]
        style.overflow = CHOICES[policies.overflow]
        style.uuid_legacy = BYTE_ORDERS[options.uuid_legacy]
        style.extended = options.json_values == "extended"
        return 0

    cdef int _set_column(self, Column *compiled, column, options) except -1:
        """What a column does with each kind."""
        cdef uint8_t *scalars = compiled.operations
        self._set_style(&compiled.style, column, options)
        compiled.is_jsonb = column.type is ColumnType.JSONB
        compiled.takes_any = column.type in JSON_TYPES
        self._set_narrow(compiled, column)
        if compiled.takes_any:
            for kind in Kind:
                compiled.operations[slot_of(kind)] = OP_JSON
        else:
            if column.array:
                compiled.operations[slot_of(Kind.ARRAY)] = OP_ARRAY
                compiled.element_oid = ELEMENT_OIDS.get(column.type, 0)  # 0: the levels refuse it
                scalars = compiled.element_operations
            for kind in column.kinds:
                scalars[slot_of(kind)] = self._operation(column.type, kind, options)
        compiled.element_operations[slot_of(Kind.NULL)] = OP_NULL
        if column.role is not ColumnRole.ID:
            compiled.operations[slot_of(Kind.NULL)] = OP_NULL
        return 0

    cdef int _set_narrow(self, Column *compiled, column) except -1:
        """What of its type a column does not hold."""
        compiled.narrow = NARROWED.get(column.type, NARROW_NOT)
        compiled.step_us = column.step_us
        compiled.precision = column.precision
        compiled.scale = column.scale
        compiled.length = column.length
        if column.type is ColumnType.TIMESTAMPTZ and column.step_us > 1:
            compiled.narrow = NARROW_STEP
        elif column.type is ColumnType.NUMERIC and column.precision:
            compiled.narrow = NARROW_DIGITS
        elif column.type is ColumnType.TEXT and column.labels:
            compiled.narrow = NARROW_LABELS
            compiled.n_labels = len(column.labels)
            compiled.labels = <Span *>self._room(compiled.n_labels, sizeof(Span))
            for number, label in enumerate(column.labels):
                self._set_span(&compiled.labels[number], label.encode())
        elif column.type is ColumnType.TEXT and column.is_padded:
            compiled.narrow = NARROW_PADDED
        return 0

    cdef int _operation(self, type_, kind, options) except -1:
        """How a scalar column takes a kind of its own."""
        if type_ is not ColumnType.TEXT:
            return OPERATIONS[type_].get(kind, OP_NONE)
        if kind == Kind.UUID_LEGACY and options.uuid_legacy:
            return OP_UUID_TEXT
        return TEXT_OPERATIONS.get(kind, OP_JSON)

    cdef int _set_levels(self, mapping) except -1:
        """The levels that the plain converter walks too."""
        levels = [build_levels(mapping)]
        for level in levels:
            levels.extend(level.below.values())
        numbers = {id(level): number for number, level in enumerate(levels)}
        self.plan.levels = <Level *>self._room(len(levels), sizeof(Level))
        for number, level in enumerate(levels):
            entries = [(index, ROLE_COLUMN, key, index) for key, index in level.columns.items()]
            for key, below in level.below.items():
                entries.append((min(below.all_columns(), default=0), ROLE_LEVEL, key, numbers[id(below)]))
            entries.sort()
            entries.extend((0, ROLE_IGNORED, key, 0) for key in level.ignored)
            # A document cannot have a key with a NUL.
            self._set_level(&self.plan.levels[number], level, [entry[1:] for entry in entries if 0 not in entry[2]])
        return 0

    cdef int _set_level(self, Level *compiled, level, list entries) except -1:
        """One level: its fields, in the order in which documents probably have them, and how to find them."""
        cdef Field *field
        cdef uint32_t slot
        n_slots = 1
        while n_slots < 2 * len(entries) + 1:
            n_slots *= 2
        columns = level.all_columns()
        compiled.columns = self._indexes(columns)
        compiled.n_columns = len(columns)
        compiled.path = <Span *>self._room(len(level.path), sizeof(Span))
        compiled.n_path = len(level.path)
        for number, key in enumerate(level.path):
            self._set_span(&compiled.path[number], _name(key))
        compiled.fields = <Field *>self._room(len(entries), sizeof(Field))
        compiled.n_fields = len(entries)
        compiled.table = self._indexes([0] * n_slots)
        compiled.table_mask = n_slots - 1
        for number, (role, key, index) in enumerate(entries):
            field = &compiled.fields[number]
            self._set_span(&field.key, key)
            self._set_span(&field.name, _name(key))
            field.hash = hash_bytes(field.key.data, field.key.size, self.plan.seed)
            field.role = role
            field.number = index
            slot = field.hash & compiled.table_mask
            while compiled.table[slot]:
                slot = slot + 1 & compiled.table_mask
            compiled.table[slot] = number + 1
        return 0


cdef bytes _name(bytes key):
    """A key as it stands in a JSON object, colon included."""
    return (quote(key.decode()) + ":").encode()
