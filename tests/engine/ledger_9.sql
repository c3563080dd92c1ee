-- The ledger of version 9, as it was made.
CREATE SCHEMA mongopg;
CREATE TABLE mongopg.version (version integer PRIMARY KEY);
CREATE TABLE mongopg.run (
    run_id        text PRIMARY KEY,
    fingerprint   text NOT NULL,
    state         text NOT NULL,
    mode          text NOT NULL,
    source        text NOT NULL,
    target        text NOT NULL,
    plan          jsonb NOT NULL,
    verification  text NOT NULL DEFAULT 'none',
    error         text NOT NULL DEFAULT '',
    seconds       double precision NOT NULL DEFAULT 0,
    engine_host   text NOT NULL,
    engine_pid    integer NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at      timestamptz,
    snapshot_time bigint,
    taken_at      timestamptz DEFAULT clock_timestamp()
);
CREATE TABLE mongopg.table_load (
    run_id        text NOT NULL REFERENCES mongopg.run ON DELETE CASCADE,
    task_id       integer NOT NULL,
    namespace     text NOT NULL,
    schema_name   text NOT NULL,
    table_name    text NOT NULL,
    staging_table text,
    table_oid     oid NOT NULL,
    mapping       jsonb NOT NULL,
    total         bigint NOT NULL,
    count_before  bigint NOT NULL,
    made          boolean NOT NULL,
    source_count  bigint,
    target_count  bigint,
    read_order       text NOT NULL DEFAULT 'id',
    member           text NOT NULL DEFAULT '',
    collection_file  text NOT NULL DEFAULT '',
    last_record      bytea,
    first_generation integer NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, task_id)
);
CREATE TABLE mongopg.partition (
    run_id          text NOT NULL,
    partition_id    integer NOT NULL,
    task_id         integer NOT NULL,
    lower           bytea,
    lower_inclusive boolean NOT NULL DEFAULT true,
    upper           bytea,
    generation      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, partition_id),
    FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
);
CREATE INDEX ON mongopg.partition (run_id, task_id);
CREATE TABLE mongopg.slice (
    run_id          text NOT NULL,
    partition_id    integer NOT NULL,
    slice_no        integer NOT NULL,
    lower           bytea,
    lower_inclusive boolean NOT NULL,
    upto            bytea,
    final           boolean NOT NULL DEFAULT false,
    worker          integer NOT NULL,
    backend_pid     integer NOT NULL,
    n_read          bigint NOT NULL DEFAULT 0,
    n_written       bigint NOT NULL DEFAULT 0,
    n_rejected      bigint NOT NULL DEFAULT 0,
    bytes           bigint NOT NULL DEFAULT 0,
    checksum        bigint,
    committed_at    timestamptz,
    altered         jsonb,
    PRIMARY KEY (run_id, partition_id, slice_no),
    FOREIGN KEY (run_id, partition_id) REFERENCES mongopg.partition ON DELETE CASCADE
);
CREATE TABLE mongopg.reject (
    run_id       text NOT NULL,
    partition_id integer NOT NULL,
    slice_no     integer NOT NULL,
    reject_no    integer NOT NULL,
    collection   text NOT NULL,
    id           text NOT NULL,
    field        text NOT NULL,
    reason       text NOT NULL,
    sqlstate     text NOT NULL,
    detail       text NOT NULL,
    raw          bytea NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, partition_id, slice_no, reject_no),
    FOREIGN KEY (run_id, partition_id, slice_no) REFERENCES mongopg.slice ON DELETE CASCADE
);
CREATE TABLE mongopg.event (
    run_id text NOT NULL REFERENCES mongopg.run ON DELETE CASCADE,
    seq    bigint NOT NULL,
    at     double precision NOT NULL,
    kind   text NOT NULL,
    facts  jsonb NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE TABLE mongopg.retry (
    run_id     text NOT NULL,
    task_id    integer NOT NULL,
    retry_no   integer NOT NULL,
    mapping    jsonb NOT NULL,
    n_written  bigint NOT NULL DEFAULT 0,
    retried_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, task_id, retry_no),
    FOREIGN KEY (run_id, task_id) REFERENCES mongopg.table_load ON DELETE CASCADE
);
CREATE TABLE mongopg.former_load (
    run_id    text NOT NULL,
    load_no   integer NOT NULL,
    table_oid oid NOT NULL,
    namespace text NOT NULL,
    mapping   jsonb NOT NULL,
    began_at  timestamptz NOT NULL,
    PRIMARY KEY (run_id, load_no)
);
CREATE INDEX ON mongopg.former_load (table_oid);
INSERT INTO mongopg.version VALUES (9);
