# CdcTest::Workload - tables and random transactions for tests of delivery.
#
#   CdcTest::Workload::create($pg, 'shop');          # tables item and pair, procedure work()
#   my $oracle = CdcTest::Workload::oracle();        # an Oracle that knows them; takes its options
#   my $writer = $pg->session('shop');
#   $writer->send(CdcTest::Workload::work(1, 200, 0.002));     # worker, transactions, pause in s
#   CdcTest::Workload::compare($oracle, $pg, 'shop');          # a test for each table
#
# A transaction of the workload has 1 to 4 statements: inserts of one and of several rows, updates,
# deletes, changes of the key, and savepoints that are rolled back; one in ten is rolled back whole.
# Workers with different numbers (0 to 9) touch different rows, and each does the same every time.
package CdcTest::Workload;
use v5.36;

use Oracle;

my $schema = <<'SQL';
CREATE TABLE item (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0, price numeric(12,3));
CREATE TABLE pair (a int, b text, note text, PRIMARY KEY (a, b));
CREATE PROCEDURE work(worker int, transactions int, pause float8) LANGUAGE plpgsql AS $$
DECLARE
    k int; m int;
BEGIN
    PERFORM setseed(worker / 10.0);
    FOR t IN 1 .. transactions LOOP
        FOR s IN 1 .. 1 + floor(random() * 4)::int LOOP
            k := floor(random() * 150);
            m := k + floor(random() * random() * 8);
            CASE floor(random() * 10)::int
            WHEN 0, 1, 2, 3 THEN
                INSERT INTO item SELECT g * 10 + worker, 'n' || g, s, g / 7.0 FROM generate_series(k, m) g
                    ON CONFLICT DO NOTHING;
            WHEN 4, 5 THEN
                UPDATE item SET n = n + 1, name = md5(n::text) WHERE id % 10 = worker AND id / 10 BETWEEN k AND m;
            WHEN 6 THEN
                DELETE FROM item WHERE id % 10 = worker AND id / 10 BETWEEN k AND m;
            WHEN 7 THEN
                UPDATE item SET id = id + 10000 WHERE id = k * 10 + worker
                    AND NOT EXISTS (SELECT FROM item WHERE id = k * 10 + worker + 10000);
            WHEN 8 THEN
                INSERT INTO pair VALUES (worker, 'b"' || k, 'x') ON CONFLICT (a, b) DO UPDATE SET note = pair.note || 'y';
            ELSE
                BEGIN
                    INSERT INTO item SELECT 1000000 + g * 10 + worker, 'never' FROM generate_series(k, m) g;
                    DELETE FROM pair WHERE a = worker;
                    RAISE EXCEPTION USING ERRCODE = 'P0001';
                EXCEPTION WHEN raise_exception THEN
                    UPDATE pair SET note = 'after a savepoint', b = b || '!' || t || '.' || s WHERE a = worker AND b = 'b"' || k;
                END;
            END CASE;
        END LOOP;
        IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
        PERFORM pg_sleep(pause) WHERE pause > 0;
    END LOOP;
END $$;
SQL

sub create ($pg, $db) {
    $pg->create_db($db);
    $pg->sql($db, $schema);
}

sub work ($worker, $transactions, $pause = 0) {
    return "CALL work($worker, $transactions, $pause)";
}

sub oracle (%opts) {
    return Oracle->new(keys => { 'public.item' => ['id'], 'public.pair' => ['a', 'b'] }, %opts);
}

sub compare ($oracle, $pg, $db, $name) {
    $oracle->compare($pg, $db, "public.$_", name => "$name: table $_") for qw(item pair);
}

1;
