# Torture::Workload - tables, and writers that fill them with random transactions for as long as one likes.
#
#   my $w = Torture::Workload->new(server => $pg, db => 'shop', writers => 2, messages => 1);
#   $w->go;  $w->tick while …;             # tick() gives each idle writer its next burst
#   $w->hold($pump, 60);                   # until no transaction is open; $pump is called meanwhile
#   my $round = $w->mark;                  # one more transaction, by worker 0, which ends them all
#   my $rows = $w->rows;                   # {table => {key => row as text}}, for Torture::Judge
#
# Writers are psql sessions that call a procedure for a burst of transactions: single rows and ranges, changes
# of keys, values out of line that change and that do not, savepoints that are rolled back, TRUNCATE, messages,
# some thousand rows at once, commits that do not wait for the disk; one in ten is rolled back.  A server that
# goes away ends a session and whatever it had open; there is another one as soon as it is back.
#
# The last statement of every transaction updates the row of its worker in "tally": n counts the worker's
# transactions, "events" is how many rows this one has changed (this row, too), "said" how many messages it has
# sent.  So each transaction says how long it is, and from the one after it follows that it was there.
package Torture::Workload;
use v5.36;
use utf8;

use Time::HiRes qw(sleep time);

use CdcTest::Process;

# table => [columns of the key]; columns in the order of their names
our %KEY = (
    item => ['id'], pair => ['a', 'b'], doc => ['id'], page => ['id'], cut => ['id'], tally => ['worker'],
);
our %COLUMNS = (
    item => [qw(id n name price)], pair => [qw(a b note)], doc => [qw(body id n)], page => [qw(body id n note)],
    cut => [qw(id n)], tally => [qw(events n said worker)],
);
our @WORKERS = 0 .. 3;

my $schema = <<'SQL';
CREATE TABLE item (id int PRIMARY KEY, name text, n int NOT NULL DEFAULT 0, price numeric(12,3));
CREATE TABLE pair (a int, b text, note text, PRIMARY KEY (a, b));
CREATE TABLE doc (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, body text);
CREATE TABLE page (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, note text, body text);
CREATE TABLE cut (id int PRIMARY KEY, n int);
CREATE TABLE tally (worker int PRIMARY KEY, n bigint NOT NULL, events int NOT NULL, said int NOT NULL);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
ALTER TABLE page ALTER body SET STORAGE EXTERNAL;
ALTER TABLE page REPLICA IDENTITY FULL;
INSERT INTO tally SELECT g, 0, 1, 0 FROM generate_series(0, 3) g;

CREATE FUNCTION body() RETURNS text LANGUAGE sql AS $$ SELECT repeat(md5(random()::text), 70 + (random() * 60)::int) $$;

CREATE PROCEDURE burst(w int, seed float8, transactions int, pause float8, messages bool) LANGUAGE plpgsql AS $$
DECLARE
    k int; m int; c int; e int; kept int; sent int;
BEGIN
    PERFORM setseed(seed);
    FOR t IN 1 .. transactions LOOP
        e := 0; sent := 0;
        IF random() < 0.3 THEN SET LOCAL synchronous_commit = off; END IF;
        FOR s IN 1 .. 1 + floor(random() * 5)::int LOOP
            k := floor(random() * 60);
            m := k + floor(random() * random() * 10);
            c := 0;
            CASE floor(random() * 13)::int
            WHEN 0, 1, 2 THEN
                INSERT INTO item SELECT g * 10 + w, 'n"' || g || E'\\', s, g / 7.0 FROM generate_series(k, m) g ON CONFLICT DO NOTHING;
            WHEN 3, 4 THEN
                UPDATE item SET n = n + 1, name = nullif(md5(n::text), '') WHERE id % 10 = w AND id / 10 BETWEEN k AND m;
            WHEN 5 THEN
                DELETE FROM item WHERE id % 10 = w AND id / 10 BETWEEN k AND m;
            WHEN 6 THEN
                UPDATE item SET id = id + 10000 WHERE id = k * 10 + w AND NOT EXISTS (SELECT FROM item WHERE id = k * 10 + w + 10000);
            WHEN 7 THEN
                INSERT INTO pair VALUES (w, 'ß"' || k, 'x') ON CONFLICT (a, b) DO UPDATE SET note = left(pair.note || 'y', 20);
            WHEN 8 THEN
                INSERT INTO doc SELECT (k % 8) * 10 + w, s, body() ON CONFLICT (id) DO UPDATE SET n = doc.n + 1,
                    body = CASE WHEN random() < 0.3 THEN body() WHEN random() < 0.2 THEN NULL ELSE doc.body END;
            WHEN 9 THEN
                INSERT INTO page SELECT (k % 8) * 10 + w, s, NULL, body() ON CONFLICT (id) DO UPDATE SET n = page.n + 1,
                    note = 'p' || s, body = CASE WHEN random() < 0.3 THEN body() ELSE page.body END;
            WHEN 10 THEN
                IF random() < 0.5 THEN
                    DELETE FROM doc WHERE id = (k % 8) * 10 + w;
                ELSE
                    -- the key moves, the value out of line stays
                    UPDATE page SET id = id + 1000 WHERE id = (k % 8) * 10 + w
                        AND NOT EXISTS (SELECT FROM page WHERE id = (k % 8) * 10 + w + 1000);
                END IF;
            WHEN 11 THEN
                INSERT INTO cut SELECT g * 10 + w, s FROM generate_series(k, m) g ON CONFLICT DO NOTHING;
            ELSE
                kept := e;
                BEGIN
                    INSERT INTO item SELECT 1000000 + g * 10 + w, 'never' FROM generate_series(k, m) g;
                    DELETE FROM pair WHERE a = w;
                    RAISE EXCEPTION USING ERRCODE = 'P0001';
                EXCEPTION WHEN raise_exception THEN
                    e := kept;
                    DELETE FROM pair WHERE a = w AND b = 'ß"' || k;
                END;
            END CASE;
            GET DIAGNOSTICS c = ROW_COUNT;
            e := e + c;
        END LOOP;
        IF random() < 0.004 THEN
            m := 500 + floor(random() * 1500);
            INSERT INTO item SELECT 2000000 + g * 10 + w, 'many', g, 1.5 FROM generate_series(1, m) g;
            DELETE FROM item WHERE id >= 2000000 AND id % 10 = w;
            e := e + 2 * m;
        END IF;
        -- one worker alone, or two of them would lock one another out
        IF w = 1 AND random() < 0.02 THEN
            TRUNCATE cut;
            e := e + 1;
        END IF;
        IF messages AND random() < 0.1 THEN
            PERFORM pg_logical_emit_message(true, 'torture', 'with ' || w);
            sent := sent + 1;
        END IF;
        IF messages AND random() < 0.05 THEN
            PERFORM pg_logical_emit_message(false, 'torture', 'without ' || w);
        END IF;
        UPDATE tally SET n = n + 1, events = e + 1, said = sent WHERE worker = w;
        IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
        PERFORM pg_sleep(pause * 2 * random()) WHERE pause > 0;
    END LOOP;
END $$;
SQL

sub new ($class, %opts) {
    my $self = bless {
        writers => 2, messages => 0, pause => 0.03, transactions => 12, %opts,
        sessions => {}, busy => {}, bursts => 0, lost => 0, going => 0,
    }, $class;
    $self->{server}->create_db($self->{db});
    $self->{server}->sql($self->{db}, $schema);
    return $self;
}

sub go ($self) { $self->{going} = 1 }

sub bursts ($self) { return $self->{bursts} }
sub lost ($self) { return $self->{lost} }

# Whoever is idle begins another burst.
sub tick ($self) {
    for my $w (1 .. $self->{writers}) {
        $self->_look_at($w) if $self->{busy}{$w};
        $self->_begin($w) if $self->{going} && !$self->{busy}{$w};
    }
}

sub _begin ($self, $w) {
    return unless $self->{server}->running;
    $self->{sessions}{$w} //= eval { $self->{server}->session($self->{db}) };
    my $session = $self->{sessions}{$w} or return;
    # The server's random() and not ours: a burst more or less is no other choice of faults.
    my $seed = sprintf '%.6f', sin($self->{seed} + 7 * $w + 31 * $self->{number}{$w}++);
    my $messages = $self->{messages} ? 'true' : 'false';
    $session->send("CALL burst($w, $seed, $self->{transactions}, $self->{pause}, $messages)");
    $self->{busy}{$w} = 1;
}

sub _look_at ($self, $w) {
    my ($ok, $out, $err) = eval { $self->{sessions}{$w}->finish(0.0005) };
    if ($@) {
        die $@ unless $@ =~ /did not end within/;
        return;
    }
    $self->{busy}{$w} = 0;
    if ($ok) {
        $self->{bursts}++;
        return;
    }
    # The server went away; anything else is a fault of the writers.
    die "a writer failed: $err\n" if $err =~ /ERROR:/ && $err !~ /terminating|shutting down|crash|could not (?:send|receive)|connection/;
    $self->{lost}++;
    (delete $self->{sessions}{$w})->close;
}

# Until no writer has a transaction open.
sub hold ($self, $pump, $timeout) {
    $self->{going} = 0;
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (grep { $_ } values %{ $self->{busy} }) {
        $self->tick;
        $pump->();
        die "the writers did not come to an end within $timeout seconds\n" if time > $deadline;
    }
}

# The transaction that ends a round; returns its number.
sub mark ($self) {
    return $self->{server}->sql($self->{db}, 'UPDATE tally SET n = n + 1, events = 1, said = 0 WHERE worker = 0 RETURNING n');
}

# All rows, each as one text: {table => {key => text}}.
sub rows ($self) {
    my %rows;
    for my $table (sort keys %KEY) {
        my @columns = @{ $COLUMNS{$table} };
        for my $row (@{ $self->{server}->query($self->{db}, 'SELECT ' . join(', ', @columns) . " FROM $table") }) {
            my %row;
            @row{@columns} = @$row;
            $rows{$table}{ row_key($table, \%row) } = row_text($table, \%row);
        }
    }
    return \%rows;
}

sub row_key ($table, $row) { return join "\0", map { $_ // '' } @$row{ @{ $KEY{$table} } } }
sub row_text ($table, $row) { return join "\x1f", map { $_ // "\x1d" } @$row{ @{ $COLUMNS{$table} } } }

1;
