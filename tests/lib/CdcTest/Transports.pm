# CdcTest::Transports - what tests of the ways by which changes come have in common (source/stream.h).
#
#   is(pieces($r), 3, 'read through SQL, three pieces');      # of a result or a run under way, from -v
#   ok(streams($r), 'the replication stream has been started')
#   same(timeless($r->out), timeless($other->out), 'the same bytes but for the times of writing');
#   copies_are_gone($pg, 'sql');        # a test: no copy of a slot is left on the server
#   create_tables($pg, 'shop');  backlog($pg, 'shop');    # changes of all kinds, about 8 MB of WAL; see there
#   create_ones($pg, 'shop', 3000);     # a plain one: table t, publication p, slot "kept", so many transactions of one row
#   my $slot = fresh_slot($pg, 'shop');   # another slot, with all of them pending
#
# Pieces are the smallest there are, 128 kB of WAL, with --catch-up-bytes=1kB: @SMALL.
package CdcTest::Transports;
use v5.36;

use Exporter qw(import);
use Test::More ();

use CdcTest::Plugins;
use PgServer;

our @EXPORT = qw(@SMALL pieces streams timeless same copies_are_gone create_tables backlog create_ones fresh_slot);
our @SMALL = ('-v', '--catch-up-bytes=1kB');

sub _said ($r) { return ref $r eq 'Cdc::Result' ? $r->err : $r->stderr }

sub pieces ($r) { return scalar(() = _said($r) =~ m{reading from [0-9A-F]+/[0-9A-F]+ to [0-9A-F]+/[0-9A-F]+ through SQL}g) }
sub streams ($r) { return scalar(() = _said($r) =~ m{streaming from }g) }

# All but the times of writing.
sub timeless ($bytes) { return join '', map { CdcTest::Plugins::without_writing_times($_) } split /(?<=\n)/, $bytes }

# is() would print megabytes.
sub same ($have, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return 1 if Test::More::ok($have eq $want, $name);
    my @have = split /(?<=\n)/, $have;
    my @want = split /(?<=\n)/, $want;
    my $n = 0;
    $n++ while $n < @have && $n < @want && $have[$n] eq $want[$n];
    Test::More::diag(@have . ' lines, not ' . @want . ", different from line $n on:\n  have "
        . substr($have[$n] // 'nothing', 0, 600) . "\n  want " . substr($want[$n] // 'nothing', 0, 600));
    return 0;
}

# They go with the connections that made them, and these with the run.
sub copies_are_gone ($pg, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $left = sub { $pg->sql('postgres', q(SELECT string_agg(slot_name, ' ') FROM pg_replication_slots WHERE slot_name LIKE 'cdcdump%')) };
    my $gone = eval { PgServer::wait_until(sub { $left->() eq '' }, 20, 'the end of copies') };
    Test::More::ok($gone, "$name: no copy of a slot is left") or Test::More::diag($left->());
}

# About 500 bytes of WAL each.
sub create_ones ($pg, $db, $n) {
    $pg->create_db($db);
    $pg->sql($db, q(CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t;
        SELECT pg_create_logical_replication_slot('kept', 'pgoutput')));
    $pg->sql($db, "DO \$\$ BEGIN FOR i IN 1 .. $n LOOP INSERT INTO t VALUES (i, repeat('name ' || i, 40)); COMMIT; END LOOP; END \$\$");
}

my $number = 0;
sub fresh_slot ($pg, $db) {
    my $slot = 'n' . ++$number;
    $pg->sql($db, "SELECT pg_copy_logical_replication_slot('kept', '$slot')");
    return $slot;
}

# ---- changes of all kinds ----

my $schema = <<'SQL';
CREATE TABLE item (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0, price numeric(12,3));
CREATE TABLE page (id int PRIMARY KEY, n int, body text);
ALTER TABLE page ALTER body SET STORAGE EXTERNAL;
CREATE TABLE whole (id int PRIMARY KEY, n int, body text);
ALTER TABLE whole ALTER body SET STORAGE EXTERNAL;
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE cut (id int PRIMARY KEY);
CREATE TABLE grown (id int PRIMARY KEY, a text);
CREATE FUNCTION body(int) RETURNS text LANGUAGE sql AS $$ SELECT repeat(md5($1::text), 90 + $1 % 60) $$;

-- one transaction after the other: of one row, of several, taken back in part and whole
CREATE PROCEDURE ones(first int, last int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN first .. last LOOP
        INSERT INTO item VALUES (i, 'n"' || i || E'\\', i, i / 7.0);
        IF i % 3 = 0 THEN UPDATE item SET n = n + 1, id = -id WHERE id = i - 1; END IF;
        IF i % 5 = 0 THEN
            BEGIN
                DELETE FROM item WHERE id > i - 20;
                RAISE EXCEPTION USING ERRCODE = 'P0001';
            EXCEPTION WHEN raise_exception THEN
                DELETE FROM item WHERE id = i - 4;
            END;
        END IF;
        IF i % 11 = 0 THEN PERFORM pg_logical_emit_message(i % 2 = 0, 'ones', 'of ' || i); END IF;
        IF i % 13 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END $$;

-- more than what the server keeps in mind of a transaction's parts
CREATE PROCEDURE parts(first int, n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN first .. first + n LOOP
        BEGIN
            INSERT INTO item VALUES (i, 'part', i, i);
            IF i % 4 = 0 THEN RAISE EXCEPTION USING ERRCODE = 'P0001'; END IF;
        EXCEPTION WHEN raise_exception THEN
            UPDATE item SET n = -1 WHERE id = first;
        END;
    END LOOP;
END $$;
SQL

sub create_tables ($pg, $db) {
    $pg->create_db($db) unless $db eq 'postgres';
    $pg->sql($db, $schema);
}

# About 8 MB of WAL, and some positions of it by name, each the end of the WAL at that moment.  A transaction
# begins near the beginning, another one is open across a good part, and rolled back.
sub backlog ($pg, $db) {
    my %at;
    my $here = sub ($name) { $at{$name} = $pg->sql($db, 'SELECT pg_current_wal_insert_lsn()') };
    my ($long, $never) = map { $pg->session($db) } 1, 2;
    $pg->sql($db, 'CALL ones(1, 150)');
    $here->('began');
    $long->sql("BEGIN; INSERT INTO item SELECT g, 'long', g, 1 FROM generate_series(100001, 100400) g");
    $never->sql("BEGIN; INSERT INTO item SELECT g, 'never', g, 1 FROM generate_series(200001, 202000) g");
    $pg->sql($db, q(
        INSERT INTO page SELECT g, g, body(g) FROM generate_series(1, 60) g;
        INSERT INTO whole SELECT g, g, body(g) FROM generate_series(1, 30) g;
        UPDATE page SET n = n + 1;
        UPDATE whole SET n = n + 1;
        INSERT INTO cut SELECT generate_series(1, 500);
        CALL ones(151, 300);
        CHECKPOINT;
        BEGIN; INSERT INTO item SELECT g, repeat('x', 300), 1, 1.5 FROM generate_series(300000, 302000) g; COMMIT;
        TRUNCATE cut;
        SELECT pg_switch_wal();
    ));
    $here->('middle');
    $pg->sql('postgres', q(CREATE TABLE other AS SELECT g, repeat('y', 100) FROM generate_series(1, 5000) g; DROP TABLE other));
    $pg->sql($db, q(
        BEGIN; CALL parts(400000, 150); COMMIT;
        INSERT INTO grown VALUES (1, 'a');
        ALTER TABLE grown ADD b int DEFAULT 7, ADD c date;
        INSERT INTO grown VALUES (2, 'b', 2, '2020-02-02');
        ALTER TABLE grown DROP a;
        BEGIN; INSERT INTO grown VALUES (3, 3); ALTER TABLE grown RENAME b TO bb; INSERT INTO grown VALUES (4, 4); COMMIT;
        SELECT pg_logical_emit_message(false, 'alone', 'outside of any transaction');
        INSERT INTO cut SELECT generate_series(1, 300);
    ));
    $long->sql("UPDATE item SET n = 2 WHERE id BETWEEN 100001 AND 100100; COMMIT");
    $here->('committed');
    $never->sql('ROLLBACK');
    $pg->sql($db, q(
        CHECKPOINT;
        DELETE FROM item WHERE id >= 300000 AND id % 3 = 0;
        SELECT pg_switch_wal();
        CALL ones(301, 450);
        BEGIN; TRUNCATE cut, grown; INSERT INTO cut VALUES (1); COMMIT;
        UPDATE page SET body = body(id + 1) WHERE id % 2 = 0;
        UPDATE page SET id = -id WHERE id % 5 = 0;
        DELETE FROM whole WHERE id > 15;
    ));
    $here->('end');
    return \%at;
}

1;
