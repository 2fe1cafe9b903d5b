# CdcTest::Writers - tables with every kind of key, and processes that write to them at once.
#
#   CdcTest::Writers::create($pg, 'shop');                  # the database and its tables, empty
#   CdcTest::Writers::fill($pg, 'shop', 500);               # rows of each table
#
#   my $w = CdcTest::Writers->start(server => $pg, db => 'shop', writers => 3, seed => 7);
#   $w->until_each(60);                     # until every kind of transaction has happened
#   my $report = $w->stop;                  # in good order; dies when a writer has failed
#   $w->happened('writers');                # a test: each kind of transaction has
#
#   my $oracle = CdcTest::Writers::oracle(allow_gaps => 1);     # an Oracle that knows the tables
#   CdcTest::Writers::compare($oracle, $pg, 'shop', 'after it');         # a test for each table
#
# The tables, all in schema public, with columns n (int), note (text) and body (text, NULL or about
# 3 kB out of line) besides their keys:
#
#   w_big   bigint                          w_text  text, under a collation that is not C
#   w_pair  (int, text)                     w_uuid  uuid
#   w_num   numeric, any scale, NaN         w_enum  enum, its order not that of the labels
#   w_bag   no key, rows that occur more than once, REPLICA IDENTITY FULL
#   w_cat   bigint; category (int, NULL or one of seven) that changes, REPLICA IDENTITY FULL
#   w_cut   bigint; the one that is truncated where that is asked for
#
# start(%opts):
#   server, db
#   writers  => 3         processes with transactions of random kinds
#   seed     => 1         the same seed, the same choices of each writer, in the same order; what
#                         comes of them depends on the others
#   tables   => [names]   default all
#   only     => [kinds], without => [kinds]     default all kinds but truncate
#   truncate => 0.01      that share of the transactions truncates w_cut (default: none)
#   hold     => [1, 2]    one more process holds transactions open for so many seconds, which write
#                         to all tables first and last; undef: none
#   async    => 0.3       that share is committed with synchronous_commit = off
#   pause    => 0.001     seconds between two transactions of a writer, on average
#   restarts => 1         the server may go away and come back
#   log      => DIR       what each writer sends, in DIR/writer-N.sql
#
# Kinds (@KINDS), which one transaction of a writer has one of:
#   insert append         rows among the others; beyond the greatest key
#   update delete bulk    single rows; a range of them
#   move_up move_down     a key goes far up or far down in the order of keys
#   move_back             to a key that was deleted before
#   swap                  two rows exchange their keys
#   recase                the key changes to one that is next to it; in w_num also to an equal number
#                         of another scale
#   reinsert              a row is deleted, and its key inserted again
#   toast                 a row with a value out of line changes elsewhere
#   multi                 several statements, tables and rows
#   rollback empty        empty: without a statement, with a number alone, or with a lock alone
#   savepoint exception   savepoints rolled back, also to an outer one, and released; a PL/pgSQL block
#   prepared_commit prepared_rollback    ended by another session after a while
#   truncate
# and besides them async and hold.
#
# stop() and report() return {done => {kind => n}, idle => {kind => n}, errors => {SQLSTATE => n}}.
# Done is what ended as it was meant to and found its rows; idle what found none; errors are those
# that come of the others: conflicts of locks and of keys.  After a deadlock or a lock that did not
# come in time a transaction is tried again, then given up.  Any other error fails the writer.
package CdcTest::Writers;
use v5.36;
use utf8;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use JSON::PP ();
use Test::More ();
use Time::HiRes qw(sleep time);

use CdcTest::Process;
use Oracle;
use PgServer;

my $LIB = abs_path(dirname(__FILE__) . '/..');

our @KINDS = qw(insert append update delete bulk move_up move_down move_back swap recase reinsert toast multi
    rollback empty savepoint exception prepared_commit prepared_rollback truncate);

# ---- the tables ----

# Keys come of numbers, as SQL: 1 to 10 times the rows that were filled in, beyond them, less than 0
# for far down and 10^9 or more for far up.  Their order is that of the numbers, w_enum aside.
my %key = (
    w_big  => { columns => ['id'], of => sub ($n) { "($n)::bigint" } },
    w_pair => { columns => ['a', 'b'], of => sub ($n) { "(($n) / 3)::int, (ARRAY['A', 'b', 'C\"'])[1 + abs(($n) % 3)]" } },
    w_text => { columns => ['id'], of => sub ($n) { "w_text_key($n)" } },
    w_uuid => { columns => ['id'], of => sub ($n) { "w_uuid_key($n)" } },
    w_num  => { columns => ['id'], of => sub ($n) { "w_num_key($n)" } },
    w_enum => { columns => ['id'], of => sub ($n) { "w_enum_key($n)" } },
    w_bag  => { columns => ['line'], of => sub ($n) { "($n)::bigint / 20" }, bag => 1 },
    w_cat  => { columns => ['id'], of => sub ($n) { "($n)::bigint" }, more => 'category',
                value => sub ($n) { "nullif(($n) % 8, 0)::int" } },
    w_cut  => { columns => ['id'], of => sub ($n) { "($n)::bigint" } },
);
our @TABLES = qw(w_big w_pair w_text w_uuid w_num w_enum w_bag w_cat w_cut);

# Where the order of characters is not that of the collation, 12 digits of such letters keep theirs.
my $schema = <<'SQL';
CREATE FUNCTION w_text_key(n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT translate(lpad((n + 500000000000)::text, 12, '0'), '0123456789', 'aBcDéFgHij') $$;
CREATE FUNCTION w_uuid_key(n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS
    $$ SELECT (lpad(to_hex(n + 1099511627776), 16, '0') || left(md5(n::text), 16))::uuid $$;
CREATE FUNCTION w_num_key(n bigint) RETURNS numeric IMMUTABLE LANGUAGE sql AS
    $$ SELECT CASE WHEN n >= 1000000000 AND n % 50 = 0 THEN 'NaN'
              ELSE (n || (ARRAY['', '.50', '.500', '.7'])[1 + abs(n % 4)])::numeric END $$;
DO $$ BEGIN
    EXECUTE 'CREATE TYPE w_kind AS ENUM (' ||
        (SELECT string_agg(quote_literal('e' || 999 - g), ', ' ORDER BY g) FROM generate_series(0, 599) g) || ')';
END $$;
CREATE FUNCTION w_enum_key(n bigint) RETURNS w_kind STABLE LANGUAGE sql AS
    $$ SELECT ('e' || 999 - (CASE WHEN n < 0 THEN 0 WHEN n >= 1000000000 THEN 400 ELSE 200 END + abs(n) % 200))::w_kind $$;
CREATE TABLE w_big (id bigint PRIMARY KEY);
CREATE TABLE w_pair (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE w_text (id text COLLATE COLLATION PRIMARY KEY);
CREATE TABLE w_uuid (id uuid PRIMARY KEY);
CREATE TABLE w_num (id numeric PRIMARY KEY);
CREATE TABLE w_enum (id w_kind PRIMARY KEY);
CREATE TABLE w_bag (line bigint);
CREATE INDEX ON w_bag (line);
CREATE TABLE w_cat (id bigint PRIMARY KEY, category int);
CREATE TABLE w_cut (id bigint PRIMARY KEY);
CREATE SEQUENCE w_start;
ALTER TABLE w_bag REPLICA IDENTITY FULL;
ALTER TABLE w_cat REPLICA IDENTITY FULL;
SQL

# A collation of the server under which 'a' < 'B' < 'c': of ICU, else of the system; "C" where
# there is none.
sub collation ($pg, $db) {
    my ($found) = map { $_->[0] } @{ $pg->query($db, q(
        SELECT quote_ident(collname) FROM pg_collation
        WHERE collname IN ('en-x-icu', 'und-x-icu') OR collname ~ '^[a-z]+_[A-Z]+\.utf-?8$'
        ORDER BY collname <> 'en-x-icu', collprovider <> 'i', collname !~ '^en_US', collname LIMIT 1)) };
    return $found // '"C"';
}

sub create ($pg, $db) {
    $pg->create_db($db) unless $pg->sql('postgres', "SELECT 1 FROM pg_database WHERE datname = '$db'");
    my $collation = collation($pg, $db);
    $pg->sql($db, ($schema =~ s/COLLATE COLLATION/COLLATE $collation/r) . join '', map {
        "ALTER TABLE $_ ADD n int NOT NULL DEFAULT 0, ADD note text, ADD body text;
         ALTER TABLE $_ ALTER body SET STORAGE EXTERNAL;\n" } @TABLES);
    return;
}

# Rows of each table; of w_enum no more than its type allows.  Takes names of tables, default all.
sub fill ($pg, $db, $rows, @tables) {
    my $sql = '';
    for my $table (@tables ? @tables : @TABLES) {
        my $g = $table eq 'w_enum' ? 'g' : '10 * g::bigint';
        my $last = $table eq 'w_enum' && $rows > 120 ? 120 : $rows;
        $sql .= _insert($table, $g, note => "'filled'", body => "CASE g % 4 WHEN 0 THEN repeat(md5(g::text), 90) END")
            . " FROM generate_series(1, $last) g ORDER BY g * 7919 % 10007;\nANALYZE $table;\n";
    }
    $pg->sql($db, "${sql}COMMENT ON SEQUENCE w_start IS '$rows';\n");
    return;
}

sub _insert ($table, $n, %set) {
    my $t = $key{$table};
    $set{ $t->{more} } //= $t->{value}->($n) if $t->{more};
    my @more = sort keys %set;
    return "INSERT INTO $table (" . join(', ', @{ $t->{columns} }, @more) . ') SELECT '
        . join(', ', $t->{of}->($n), @set{@more});
}

sub oracle (%opts) {
    return Oracle->new(keys => { map { ("public.$_" => $key{$_}{bag} ? [] : $key{$_}{columns}) } @TABLES }, %opts);
}

sub compare ($oracle, $pg, $db, $name, @tables) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $oracle->compare($pg, $db, "public.$_", name => "$name: table $_", columns => 'all') for @tables ? @tables : @TABLES;
}

# ---- as the test sees them ----

# Each is a new program and not a fork of the test, whose open files it would keep open.
sub start ($class, %opts) {
    my %how = (writers => 3, seed => 1, hold => [1, 2], async => 0.3, pause => 0.001, truncate => 0,
        restarts => 0, tables => [@TABLES], %opts);
    my $server = delete $how{server};
    my $self = bless { processes => [], report => undef }, $class;
    my %without = map { $_ => 1 } @{ delete $how{without} // [] }, $how{truncate} ? () : 'truncate';
    $how{kinds} = [grep { !$without{$_} } @{ delete $how{only} // \@KINDS }];
    for my $kind (@{ $how{kinds} }) {
        die "no kind of transaction: \"$kind\"\n" unless grep { $_ eq $kind } @KINDS;
    }
    $self->{expected} = [@{ $how{kinds} }, $how{async} ? 'async' : (), $how{hold} ? 'hold' : ()];
    die "no more than 9 writers\n" if $how{writers} > 9;
    my ($row) = @{ $server->query($how{db}, q(SELECT current_setting('max_prepared_transactions'),
        greatest(20, obj_description('w_start'::regclass, 'pg_class')::int), nextval('w_start'))) };
    (my $prepared, @how{qw(size start)}) = @$row;
    $how{pending} = $how{writers} ? int($prepared / $how{writers}) : 0;
    $how{pending} = 2 if $how{pending} > 2;
    die "max_prepared_transactions is less than one for each writer\n"
        if !$how{pending} && $how{writers} && grep { /^prepared/ } @{ $how{kinds} };
    for my $number (1 .. $how{writers}, $how{hold} ? 0 : ()) {
        my $p = { number => $number, out => File::Temp->new, err => File::Temp->new };
        pipe my $in, $p->{control} or die "pipe: $!";
        $p->{process} = CdcTest::Process->spawn(
            argv => [$^X, "-I$LIB", '-MCdcTest::Writers', '-e', 'CdcTest::Writers::run(@ARGV)',
                JSON::PP->new->encode({ %how, number => $number, connstr => $server->connstr($how{db}) })],
            stdin => $in, stdout => '>>' . $p->{out}->filename, stderr => '>>' . $p->{err}->filename,
        );
        push @{ $self->{processes} }, $p;
    }
    return $self;
}

# What has happened up to now, of all writers together; some tenths of a second old.
sub report ($self) {
    my $sum = { done => {}, idle => {}, errors => {} };
    for my $p (@{ $self->{processes} }) {
        my ($line) = (_content($p->{out}) =~ /^(\{.*)\n\z/m) or next;
        my $report = JSON::PP->new->decode($line);
        for my $what (keys %$sum) {
            $sum->{$what}{$_} += $report->{$what}{$_} for keys %{ $report->{$what} };
        }
    }
    return $sum;
}

sub _content ($file) {
    open my $fh, '<:raw', $file->filename or die "could not read a report: $!\n";
    local $/;
    return scalar(<$fh>) // '';
}

# True while all of them write.
sub running ($self) { return !grep { !$_->{process}->running } @{ $self->{processes} } }

# Kinds that were asked for and have not happened; or of those named.
sub missing ($self, @kinds) {
    my $done = $self->report->{done};
    return grep { !$done->{$_} } @kinds ? @kinds : @{ $self->{expected} };
}

# Waits until every kind has happened; dies when one has not after $timeout seconds.
sub until_each ($self, $timeout = 60, @kinds) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    while (my @missing = $self->missing(@kinds)) {
        $self->stop unless $self->running;
        die "did not happen within $timeout seconds: @missing\n" if time > $deadline;
        sleep 0.05;
    }
    return $self;
}

# Each ends its transaction, and those it has prepared.  Dies with what a writer said that failed.
sub stop ($self, $timeout = 60) {
    return $self->report if $self->{stopped}++;
    close delete $_->{control} for @{ $self->{processes} };
    my @failed;
    for my $p (@{ $self->{processes} }) {
        my $process = $p->{process};
        my $ended = $process->wait_exit($timeout);
        $process->kill_now unless $ended;
        next if $ended && defined $process->exit && $process->exit == 0;
        push @failed, "writer $p->{number} "
            . (!$ended ? "did not stop within $timeout seconds" : defined $process->exit ? 'failed' : 'was killed by signal ' . $process->signal)
            . ': ' . _content($p->{err});
    }
    die @failed if @failed;
    return $self->report;
}

# As a test; shows what has happened in any case.
sub happened ($self, $name = 'writers', @kinds) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @missing = $self->missing(@kinds);
    my $report = $self->report;
    my $text = join '; ', map { my $what = $report->{$_}; "$_: " . join ', ', map { "$_ $what->{$_}" } sort keys %$what } qw(done idle errors);
    Test::More::ok(!@missing, "$name: every kind of transaction has happened") ? Test::More::note($text)
        : Test::More::diag("not @missing\n$text");
    return !@missing;
}

sub DESTROY ($self) {
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($?, $!, $@);
    $_->{process}->kill_now for grep { $_->{process}->running } @{ $self->{processes} };
}

# ---- as a writer sees itself ----

# A writer asks two sessions for everything: its own, and one that ends what was prepared.
sub run ($json) {
    my $self = bless { done => {}, idle => {}, errors => {}, count => 0, prepared => [], gone => {}, reported => 0,
        %{ JSON::PP->new->decode($json) } }, 'CdcTest::Writers::One';
    $| = 1;
    srand $self->{seed} * 1000 + $self->{number};
    if ($self->{log}) {
        open $self->{log_file}, '>', "$self->{log}/writer-$self->{number}.sql" or die "$self->{log}: $!\n";
        $self->{log_file}->autoflush(1);
    }
    $self->{number} ? $self->work : $self->hold;
    $self->tell;
    $self->{$_} && $self->{$_}->close for qw(session ender);
    exit 0;
}

package CdcTest::Writers::One;
use v5.36;

use List::Util qw(max min shuffle);
use Time::HiRes qw(sleep time);

# What others may do to a transaction; the first ones are worth another try.
my %conflict = (
    '40P01' => 'again', '55P03' => 'again', '40001' => 'again',
    '23505' => 'give up',                # the key is there
    '53200' => 'give up',                # too many prepared transactions
);

sub stopped ($self, $seconds = 0) {
    return 1 if $self->{stop};
    my $ready = '';
    vec($ready, fileno STDIN, 1) = 1;
    return $self->{stop} = 1 if select($ready, undef, undef, $seconds) > 0;    # its end
    return 0;
}

sub tell ($self) {
    print JSON::PP->new->encode({ map { $_ => $self->{$_} } qw(done idle errors) }), "\n";
    $self->{reported} = time;
}

# ---- sessions ----

# connstr() is all that a session asks a server for.
sub connstr ($self, $db) { return $self->{connstr} }

sub connected ($self, $which) {
    my $deadline = time + CdcTest::Process::patient(60);
    until ($self->{$which}) {
        $self->{$which} = eval {
            my $s = PgServer::Session->new($self, '');
            $s->sql($_) for '\set VERBOSITY sqlstate', "SET lock_timeout = '50ms'", "SET deadlock_timeout = '20ms'",
                "SET client_min_messages = error";
            $s;
        };
        next if $self->{$which};
        die "could not connect: $@" if !$self->{restarts} || time > $deadline;
        sleep 0.05;
    }
    return $self->{$which};
}

# (SQLSTATEs, output): of one transaction.  '08006' when the connection is lost.
sub ask ($self, $which, $sql) {
    my $session = $self->connected($which);
    print { $self->{log_file} } "$sql\n" if $self->{log_file};
    my ($ok, $out, $err) = $session->try($sql);
    if (!$session->{process}->running || $err =~ /^(?:FATAL|PANIC|psql: error)|server closed the connection|connection to server was lost/m) {
        $self->{restarts} or die "the connection is lost: $err\n";
        delete $self->{$which};
        $session->{process}->kill_now;
        return (['08006'], $out);
    }
    my @states = grep { $_ ne '25P02' } $err =~ /^ERROR:  (\w{5})/mg;
    die "an error without its code: $err\n--- statements:\n$sql\n" if !@states && $err =~ /^ERROR/m;
    for my $i (0 .. $#states) {
        # a savepoint that was not set for another error cannot be rolled back to
        next if $conflict{ $states[$i] } || $i && $states[$i] eq '3B001' || $which eq 'ender';
        die "$err\n--- statements:\n$sql\n" unless $self->{restarts} && $states[$i] =~ /^(?:57P|08)/;
    }
    return (\@states, $out);
}

# One transaction.  It has found its rows when none of the numbers told is 0.
sub transact ($self, $kind, $async, $delay, @statements) {
    my @end = $kind =~ /^prepared/ ? "PREPARE TRANSACTION '" . $self->name_of_prepared . "'" : $kind eq 'rollback' ? 'ROLLBACK' : 'COMMIT';
    my $sql = join "\n", map { /\A\\|;\z|\\gset \w+\z/ ? $_ : "$_;" } 'BEGIN', ($async ? 'SET LOCAL synchronous_commit = off' : ()), @statements, @end;
    for my $try (1, 2) {
        my ($states, $out) = $self->ask(session => $sql);
        $self->{errors}{$_}++ for @$states;
        my @counts = $out =~ /^rows (\d+)$/mg;
        my $found = !@$states && !grep { $_ == 0 } @counts;
        if ($kind =~ /^prepared/) {
            # After an error it may be there even so: an error before a savepoint was rolled back to,
            # or a connection lost in between.
            push @{ $self->{prepared} }, { kind => $kind, name => $self->{prepared_name}, due => time + (@$states ? 0 : $delay),
                found => $found, unsure => @$states > 0 };
            return;
        }
        if (!@$states) {
            $self->{ $found ? 'done' : 'idle' }{$kind}++;
            $self->{done}{async}++ if $async && $found && @counts && $end[0] eq 'COMMIT';
            return;
        }
        return if grep { ($conflict{$_} // '') ne 'again' && $_ ne '3B001' } @$states;
        return if $self->stopped(0.01 * $try);
    }
}

sub name_of_prepared ($self) {
    return $self->{prepared_name} = "writer $self->{number}, $self->{count}";
}

# Ends what is due, or all.
sub end_prepared ($self, $all = 0) {
    for my $p (splice @{ $self->{prepared} }) {
        if (!$all && $p->{due} > time) {
            push @{ $self->{prepared} }, $p;
            next;
        }
        my $verb = $p->{kind} eq 'prepared_commit' ? 'COMMIT' : 'ROLLBACK';
        my ($states) = $self->ask(ender => "$verb PREPARED '$p->{name}'");
        if (grep { /^(?:08|57P)/ } @$states) {
            push @{ $self->{prepared} }, { %$p, unsure => 1 };
        } elsif (grep { $_ ne '42704' } @$states or @$states && !$p->{unsure}) {
            die "$verb PREPARED '$p->{name}' failed: @$states\n";
        } else {
            $self->{ $p->{found} && !@$states ? 'done' : 'idle' }{ $p->{kind} }++;
        }
    }
}

# ---- statements ----

sub pick (@list) { return $list[rand @list] }

# Numbers of keys: among those that were filled in; anywhere.
sub near ($self) { return 1 + int rand 10 * $self->{size} }
sub low ($self)  { return -1 - int rand 900_000_000 }
sub high ($self) { return 1_000_000_000 + int rand 900_000_000 }
sub any ($self)  { return rand() < 0.93 ? $self->near : rand() < 0.5 ? $self->low : $self->high }

# Beyond all but those far up, and no one else's, nor of an earlier start.
sub beyond ($self) {
    return 20 * $self->{size} + 10_000_000 * ($self->{start} % 90) + 20 * (10 * ++$self->{appended} + $self->{number});
}

sub columns ($self, $t) { return '(' . join(', ', map { "$_" } @{ $key{$t}{columns} }) . ')' }
sub key ($self, $t, $n) { return '(' . $key{$t}{of}->($n) . ')' }

# Which row: the one next to a number.  Every row of w_bag that is equal, now and then.
sub one ($self, $t, $n = $self->any) {
    my ($c, $k) = ($self->columns($t), $self->key($t, $n));
    my ($cmp, $order) = rand() < 0.5 ? ('>=', '') : ('<=', ' DESC');
    my $what = $key{$t}{bag} && rand() < 0.8 ? 'ctid' : substr $c, 1, -1;
    $c = "($what)";
    my $by = join ', ', map { "$_$order" } @{ $key{$t}{columns} };
    return "$c = (SELECT $what FROM $t WHERE " . $self->columns($t) . " $cmp $k ORDER BY $by LIMIT 1)";
}

sub note ($self) { return "'writer $self->{number}, $self->{count}'" }
sub body ($self) { return rand() < 0.25 ? "repeat(md5('" . int(rand 1e9) . "'), 90)" : 'NULL' }

# A statement of which the number of rows is told.
sub told ($sql) { return "$sql;", '\echo rows :ROW_COUNT' }

sub insert_sql ($self, $t, $n = $self->near, $many = 1) {
    my $note = $key{$t}{bag} ? pick(q('same'), $self->note) : $self->note;
    my $body = $self->body;
    my $from = $many > 1 || $key{$t}{bag} && rand() < 0.5
        ? CdcTest::Writers::_insert($t, 'g', note => $note, body => $body) . " FROM generate_series($n, $n + " . max($many - 1, 1) . ') g'
        : CdcTest::Writers::_insert($t, $n, note => $note, body => $body);
    my $lenient = $many > 1 || $t eq 'w_enum' || rand() < 0.5;
    return $lenient && !$key{$t}{bag} ? "$from ON CONFLICT DO NOTHING" : $from;
}

sub update_sql ($self, $t, $where = $self->one($t)) {
    my @set = ('n = n + 1');
    push @set, 'note = ' . $self->note if rand() < 0.5;
    push @set, 'body = ' . $self->body if rand() < 0.2;
    push @set, 'category = ' . pick('NULL', 1 .. 7) if $t eq 'w_cat' && rand() < 0.6;
    return "UPDATE $t SET " . join(', ', @set) . " WHERE $where";
}

sub delete_sql ($self, $t) { return "DELETE FROM $t WHERE " . $self->one($t) }

sub move_sql ($self, $t, $n, $from = $self->near) {
    my $set = rand() < 0.3 ? ', n = n + 1' : '';
    return "UPDATE $t SET " . $self->columns($t) . ' = ROW' . $self->key($t, $n) . "$set WHERE " . $self->one($t, $from);
}

# The key columns of a row, which \gset has put into variables that begin with $prefix.
sub saved ($self, $t, $prefix) { return '(' . join(', ', map { ":'$prefix$_'" } @{ $key{$t}{columns} }) . ')' }
sub is_there ($self, $t, $prefix) { return "\\if :{?$prefix$key{$t}{columns}[0]}" }
sub unset ($self, $t, $prefix) { return map { "\\unset $prefix$_" } @{ $key{$t}{columns} } }

sub any_sql ($self, $t) {
    return pick(
        sub { $self->insert_sql($t, $self->near, 1 + int rand 4) }, sub { $self->update_sql($t) }, sub { $self->update_sql($t) },
        sub { $self->delete_sql($t) }, sub { $self->move_sql($t, pick($self->low, $self->high)) },
    )->();
}

# ---- transactions ----

sub table ($self, @not) {
    my %not = map { $_ => 1 } @not;
    return pick(grep { !$not{$_} } @{ $self->{tables} });
}

my %transaction = (
    insert => sub ($self) { my $t = $self->table; told($self->insert_sql($t, $self->near, pick(1, 1, 3))) },
    append => sub ($self) { my $t = $self->table; told($self->insert_sql($t, $self->beyond, pick(1, 1, 5))) },
    update => sub ($self) { my $t = $self->table; told($self->update_sql($t)) },
    delete => sub ($self) {
        # keeps the key for move_back
        my $t = $self->table;
        return "DELETE FROM $t WHERE " . $self->one($t) . ' RETURNING ' . join(', ', @{ $key{$t}{columns} }) . " \\gset gone_$t\_",
            '\echo rows :ROW_COUNT';
    },
    bulk => sub ($self) {
        my ($t, $n) = ($self->table, $self->near);
        my $where = $self->columns($t) . ' >= ' . $self->key($t, $n) . ' AND ' . $self->columns($t) . ' < ' . $self->key($t, $n + 300);
        return told(pick("DELETE FROM $t WHERE $where AND n % 4 = 0", $self->update_sql($t, $where), $self->update_sql($t, $where)));
    },
    move_up   => sub ($self) { my $t = $self->table; told($self->move_sql($t, $self->high)) },
    move_down => sub ($self) { my $t = $self->table; told($self->move_sql($t, $self->low)) },
    move_back => sub ($self) {
        my $t = $self->table;
        return $self->is_there($t, "gone_$t\_"),
            told("UPDATE $t SET " . $self->columns($t) . ' = ROW' . $self->saved($t, "gone_$t\_") . ' WHERE ' . $self->one($t)),
            '\else', '\echo rows 0', '\endif';
    },
    swap => sub ($self) {
        my $t = $self->table(grep { $key{$_}{bag} } @{ $self->{tables} });
        my ($c, $list) = ($self->columns($t), join ', ', @{ $key{$t}{columns} });
        my $spare = $self->key($t, -1_000_000_000 - 1000 * $self->{count} - $self->{number});
        return $self->unset($t, 'p_'), $self->unset($t, 'q_'),
            "SELECT $list FROM $t WHERE " . $self->one($t, $self->near) . ' FOR UPDATE \gset p_',
            $self->is_there($t, 'p_'),
            "SELECT $list FROM $t WHERE $c > " . $self->saved($t, 'p_') . " ORDER BY $list LIMIT 1 OFFSET " . int(rand 20) . ' FOR UPDATE \gset q_',
            $self->is_there($t, 'q_'),
            told("UPDATE $t SET $c = ROW$spare WHERE $c = " . $self->saved($t, 'p_')),
            told("UPDATE $t SET $c = ROW" . $self->saved($t, 'p_') . " WHERE $c = " . $self->saved($t, 'q_')),
            told("UPDATE $t SET $c = ROW" . $self->saved($t, 'q_') . " WHERE $c = $spare"),
            '\else', '\echo rows 0', '\endif', '\else', '\echo rows 0', '\endif';
    },
    recase => sub ($self) {
        my %set = (w_num => pick('id = round(id, scale(id) + 1)', 'id = id + 0.01'), w_pair => q(b = lower(b) || '\\'),
            w_text => q(id = upper(id)), w_big => 'id = id + 1', w_cat => 'id = id - 1', w_cut => 'id = id + 1', w_bag => 'line = line + 1',
            w_uuid => q(id = overlay(id::text placing 'ff' from 35)::uuid),
            w_enum => q(id = coalesce((SELECT e FROM unnest(enum_range(NULL, id)) e ORDER BY e DESC OFFSET 1 LIMIT 1), id)));
        my $t = $self->table;
        # NaN has no scale
        my $where = $self->one($t, $self->near) . ($t eq 'w_num' ? " AND id <> 'NaN'" : '');
        return told("UPDATE $t SET $set{$t} WHERE $where");
    },
    reinsert => sub ($self) {
        my $t = $self->table;
        my $list = join ', ', @{ $key{$t}{columns} };
        return $self->unset($t, 'o_'), 'DELETE FROM ' . $t . ' WHERE ' . $self->one($t) . " RETURNING $list \\gset o_",
            $self->is_there($t, 'o_'),
            told("INSERT INTO $t ($list, note, body) VALUES (" . substr($self->saved($t, 'o_'), 1, -1) . ', ' . $self->note . ', ' . $self->body . ')'),
            (rand() < 0.3 ? told("UPDATE $t SET n = n + 1 WHERE " . $self->columns($t) . ' = ' . $self->saved($t, 'o_')) : ()),
            '\else', '\echo rows 0', '\endif';
    },
    toast => sub ($self) {
        my $t = $self->table;
        my $c = $key{$t}{bag} ? 'ctid' : join ', ', @{ $key{$t}{columns} };
        my $move = !$key{$t}{bag} && $t ne 'w_enum' && rand() < 0.3;
        my $set = $move ? $self->columns($t) . ' = ROW' . $self->key($t, $self->any) : 'n = n + 1';
        return told("UPDATE $t SET $set WHERE ($c) = (SELECT $c FROM $t WHERE body IS NOT NULL AND " . $self->columns($t) . ' >= '
            . $self->key($t, int($self->near / 2)) . ' ORDER BY ' . join(', ', @{ $key{$t}{columns} }) . ' LIMIT 1)');
    },
    multi => sub ($self) {
        my @tables = map { $self->table } 1 .. 2;
        return told($self->update_sql($tables[0])), told($self->insert_sql($tables[1], $self->beyond, 2)),
            map { $self->any_sql(pick(@tables, $self->table)) } 1 .. 1 + int rand 4;
    },
    rollback => sub ($self) { my $t = $self->table; told($self->update_sql($t)), $self->any_sql($self->table), $self->any_sql($t) },
    empty => sub ($self) {
        my $t = $self->table('w_cut');
        return pick([], ['SELECT FROM txid_current()'], ["SELECT FROM $t WHERE " . $self->one($t) . ' FOR UPDATE'],
            ['SAVEPOINT a', "UPDATE $t SET n = -1 WHERE " . $self->one($t), 'ROLLBACK TO a'])->@*;
    },
    savepoint => sub ($self) {
        my ($t, $u) = ($self->table, $self->table);
        return told($self->update_sql($t)), 'SAVEPOINT a', $self->any_sql($u),
            (rand() < 0.5 ? ('SAVEPOINT b', $self->any_sql($t), pick('ROLLBACK TO b', 'RELEASE b'), $self->any_sql($u)) : ()),
            'ROLLBACK TO a', (rand() < 0.5 ? $self->any_sql($t) : ()), 'SAVEPOINT c', told($self->update_sql($u)), 'RELEASE c';
    },
    exception => sub ($self) {
        my ($t, $u) = ($self->table, $self->table);
        return told($self->update_sql($t)), 'DO $do$ BEGIN BEGIN ' . join('; ', $self->any_sql($t), $self->any_sql($u))
            . '; RAISE EXCEPTION USING ERRCODE = $$P0001$$; EXCEPTION WHEN raise_exception THEN ' . $self->update_sql($u) . '; END; END $do$';
    },
    truncate => sub ($self) { 'TRUNCATE w_cut', '\echo rows 1', told($self->insert_sql('w_cut', $self->beyond, 3)) },
);
# not w_cut, which could not be truncated as long as they last
for my $kind (qw(prepared_commit prepared_rollback)) {
    $transaction{$kind} = sub ($self) {
        my ($t, $u) = ($self->table('w_cut'), $self->table('w_cut'));
        return told($self->update_sql($t)), $self->any_sql($u), told($self->insert_sql($t, $self->beyond, 2)),
            (rand() < 0.4 ? ('SAVEPOINT a', $self->any_sql($t), pick('ROLLBACK TO a', 'RELEASE a')) : ());
    };
}

# First each kind once, then at random.
sub work ($self) {
    my %rare = (bulk => 0.2, empty => 0.4, prepared_commit => 0.5, prepared_rollback => 0.3);
    my @kinds = grep { $_ ne 'truncate' } @{ $self->{kinds} };
    my @first = shuffle @{ $self->{kinds} };
    until ($self->stopped(rand 2 * $self->{pause})) {
        my $kind = shift @first // (rand() < $self->{truncate} ? 'truncate' : undef);
        until ($kind) {
            last unless @kinds;
            my $k = pick(@kinds);
            $kind = $k if rand() < ($rare{$k} // 1);
        }
        next unless $kind;
        $self->{count}++;
        # All choices are made before anything depends on the time.
        my @choices = (rand() < $self->{async}, 0.05 + rand 0.8, $transaction{$kind}->($self));
        $self->transact($kind, @choices) unless $kind =~ /^prepared/ && @{ $self->{prepared} } >= $self->{pending};
        $self->end_prepared;
        $self->tell if time > $self->{reported} + 0.1;
    }
    my $deadline = time + CdcTest::Process::patient(30);
    while (@{ $self->{prepared} }) {
        $self->end_prepared(1);
        die "prepared transactions could not be ended\n" if time > $deadline;
    }
}

# Writes to all tables, waits, writes again, and commits.
sub hold ($self) {
    until ($self->stopped(0.02)) {
        my $async = rand() < $self->{async};
        my $until = time + $self->{hold}[0] + rand($self->{hold}[1] - $self->{hold}[0]);
        my @tables = grep { $_ ne 'w_cut' } @{ $self->{tables} };
        $self->{count}++;
        my ($failed, $asked) = (0, 0);
        my $step = sub (@sql) {
            return if $failed;
            my ($states) = $self->ask(session => join "\n", map { "$_;" } @sql);
            $self->{errors}{$_}++ for @$states;
            $failed ||= @$states;
        };
        # A savepoint keeps what was written when a lock does not come in time.
        my $all = sub {
            for my $t (shuffle @tables) {
                $step->($self->insert_sql($t, $self->beyond, 2), 'SAVEPOINT a');
                $step->($self->update_sql($t)) if rand() < 0.6;
                $step->($self->delete_sql($t)) if rand() < 0.3;
                $step->($self->move_sql($t, pick($self->low, $self->high))) if rand() < 0.3;
                if ($failed && $self->{session}) {
                    $self->ask(session => 'ROLLBACK TO a;');
                    $failed = 0;
                }
                last if $failed;
            }
        };
        $step->('BEGIN', 'SAVEPOINT a', $async ? 'SET LOCAL synchronous_commit = off' : ());
        $all->();
        $self->tell;
        while (!$failed && time < $until && !$self->stopped(0.05)) {
            my $t = pick(@tables);
            $step->($self->insert_sql($t, $self->beyond, 2)) if rand() < 0.2;
        }
        $all->() unless $failed;
        $self->ask(session => $failed ? 'ROLLBACK;' : 'COMMIT;') if $self->{session};
        $self->{ $failed ? 'idle' : 'done' }{hold}++;
        $self->tell;
    }
}

1;
