# Into Kafka through kcat: keyed messages, tombstones, compaction; kills of either side.
#
# The broker is a mock one in memory, or the one that CDCTEST_KAFKA names: see CdcTest::Kafka.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Kafka;
use CdcTest::Records qw(record);
use CdcTest::Workload;
use Encode qw(decode_utf8);
use List::Util qw(first uniq);
use MIME::Base64 qw(decode_base64);
use Math::BigInt;
use Time::HiRes qw(sleep);

my $missing = CdcTest::Kafka::missing();
skip_all_without($missing eq '', $missing);

my $kafka = CdcTest::Kafka->new;
my $pg = PgServer->new(tcp => 0);
my $dir = scratch();

# No two tables have key columns of the same names: in one topic they would be the same keys.
my %keys = ('public.item' => ['id'], 'public.pair' => [qw(a b)], 'public.odd' => ['k'], 'public.log' => [qw(x y)],
    'public.typed' => [qw(n at u)], 'public.big' => ['no']);
CdcTest::Workload::create($pg, 'shop');
$pg->sql('shop', <<'SQL');
CREATE TABLE odd (k text PRIMARY KEY, v text);
CREATE TABLE typed (n numeric, at timestamptz, u uuid, v text, PRIMARY KEY (u, at, n));
CREATE TABLE log (x int, y text);
ALTER TABLE log REPLICA IDENTITY FULL;
CREATE TABLE big (no int PRIMARY KEY, body text);
CREATE PUBLICATION p FOR TABLE item, pair, odd, log, typed, big;
SQL

sub args ($name, @more) {
    return [-S => $name, qw(--publication p --publication-mode existing), '--state' => "$dir/$name.json", @more];
}

my @keyed = ('-K', '\t', '--tombstones');

sub saved_lsn ($name) {
    return -e "$dir/$name.json" ? lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) : 0;
}

# cdcdump | kcat: both, running.
sub pipeline ($name, $topic, $args, %opts) {
    my $kcat = ($opts{kafka} // $kafka)->producer($topic, args => $opts{kcat} // []);
    my $c = Cdc->start(server => $pg, db => 'shop', args => args($name, @keyed, @$args), stdout => $kcat->stdin);
    $kcat->close_stdin;
    return ($c, $kcat);
}

# Both to their end.
sub through ($what, @args) {
    my ($c, $kcat) = pipeline(@args);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $c->wait->exited(0, "$what: cdcdump");
    $kcat->exited(0, "$what: kcat");
}

# The line of cdcdump that became the message.
sub line_of ($message) { return ($message->{key} // '') . "\t" . ($message->{value} // '') }

# The messages of each key, in their order.
sub by_key (@messages) {
    my %by_key;
    push @{ $by_key{ $_->{key} } }, $_ for @messages;
    return \%by_key;
}

# Of lists that may be long.
sub none ($wrong, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(!@$wrong, $name) or diag(map { substr($_, 0, 300) . "\n" } @$wrong[0 .. ($#$wrong > 4 ? 4 : $#$wrong)]);
}

# ---- each message of one key's life ----

{
    my $topic = $kafka->topic('lives');
    my @args = (qw(-m never -t odd -t log -t typed -e plain -E now));
    my @one = (kcat => ['-p', 0]);    # so that all messages have an order
    through('lives: a slot', 'lives', $topic, \@args, @one);
    $pg->sql('shop', <<~'SQL');
        INSERT INTO odd VALUES (E'tab\tquote"back\\slash\nnewline é😀', E'one\ntwo\r\n\tthree');
        UPDATE odd SET v = E'\n';
        UPDATE odd SET k = 'moved';
        UPDATE odd SET v = NULL;
        DELETE FROM odd;
        INSERT INTO odd VALUES ('', '');
        DELETE FROM odd;
        INSERT INTO log VALUES (1, E'a\tb'), (NULL, NULL);
        UPDATE log SET y = 'c' WHERE x = 1;
        DELETE FROM log;
        INSERT INTO typed VALUES (1.0, '2023-05-01 12:00+02', '00000000-0000-0000-0000-00000000000A', 'x');
        UPDATE typed SET n = 1.00;
        UPDATE typed SET n = 1.00, v = 'y';
        DELETE FROM typed;
        TRUNCATE odd;
        SQL
    through('lives', 'lives', $topic, \@args, @one);
    my @got = map {
        my $record = defined $_->{value} ? record($_->{value}) : undef;
        my $key = defined $_->{key} ? record($_->{key}) : undef;
        my $row = $record && $record->{row};
        [$key, $record ? ($record->{op}, $row ? $row->{v} // $row->{y} : undef) : undef];
    } $kafka->messages($topic);
    my ($odd, $typed) = ({ k => "tab\tquote\"back\\slash\nnewline é😀" },
        { at => '2023-05-01T10:00:00Z', u => '00000000-0000-0000-0000-00000000000a' });
    my @want = (
        [$odd, 'c', "one\ntwo\r\n\tthree"],
        [$odd, 'u', "\n"],
        [$odd, 'd', undef], [$odd, undef], [{ k => 'moved' }, 'c', "\n"],
        [{ k => 'moved' }, 'u', undef],
        [{ k => 'moved' }, 'd', undef], [{ k => 'moved' }, undef],
        [{ k => '' }, 'c', ''],
        [{ k => '' }, 'd', undef], [{ k => '' }, undef],
        # whole rows are the keys here
        [{ x => 1, y => "a\tb" }, 'c', "a\tb"],
        [{ x => undef, y => undef }, 'c', undef],
        [{ x => 1, y => "a\tb" }, 'd', undef], [{ x => 1, y => "a\tb" }, undef], [{ x => 1, y => 'c' }, 'c', 'c'],
        [{ x => undef, y => undef }, 'd', undef], [{ x => undef, y => undef }, undef],
        [{ x => 1, y => 'c' }, 'd', undef], [{ x => 1, y => 'c' }, undef],
        # equal as keys of the table, but not as texts
        [{ %$typed, n => '1.0' }, 'c', 'x'],
        [{ %$typed, n => '1.0' }, 'd', undef], [{ %$typed, n => '1.0' }, undef], [{ %$typed, n => '1.00' }, 'c', 'x'],
        [{ %$typed, n => '1.00' }, 'u', 'y'],
        [{ %$typed, n => '1.00' }, 'd', undef], [{ %$typed, n => '1.00' }, undef],
        [undef, 't', undef],
    );
    is(join("\n", map { canonical($_) } @got), join("\n", map { canonical($_) } @want), 'lives: every message, its key and what it says');

    # kcat's own envelope of JSON says the same.
    my $r = CdcTest::Process->capture(argv => ['kcat', '-C', '-J', '-e', '-q', '-o', 'beginning', '-b', $kafka->servers, '-t', $topic]);
    my @envelopes = map { JSON::PP->new->utf8->decode($_) } split /\n/, $r->{out};
    is(join("\n", map { canonical([@$_{qw(key payload)}]) } @envelopes),
        join("\n", map { canonical([map { defined ? decode_utf8($_) : undef } @$_{qw(key value)}]) } $kafka->messages($topic)),
        'lives: kcat -J says the same');
}

# ---- snapshot and changes in every envelope, compacted ----

# [name, options, text of a message's record -> the operation of `plain`, its row]
my %flink = ('+I' => 'c', '+U' => 'u', '-D' => 'd');
my $of_debezium = sub ($r) { return ($r->{op}, $r->{after}) };
my @shapes = (
    ['plain', [qw(-e plain)], sub ($r) { return ($r->{op}, $r->{row}) }],
    ['debezium', [], $of_debezium],
    ['debezium09', [qw(-e debezium-0.9)], $of_debezium],
    ['types', [qw(--types=debezium)], sub ($r) { return ($r->{op}, readable($r->{source}{table}, $r->{after})) }],
    ['flink', [qw(-e flink --changelog-mode=upsert)],
        sub ($r) { my $op = $flink{ $r->{row_kind} }; return ($op, $op eq 'd' ? undef : $r->{row}) }],
);

# Big-endian two's complement and a scale.
sub decimal ($base64, $scale) {
    my $bytes = decode_base64($base64);
    my $n = Math::BigInt->from_bytes($bytes);
    $n->bsub(Math::BigInt->new(1)->blsft(8 * length $bytes)) if ord($bytes) & 0x80;
    my $digits = $n->copy->babs->bstr;
    $digits = '0' x ($scale + 1 - length $digits) . $digits if length $digits <= $scale;
    substr $digits, -$scale, 0, '.' if $scale;
    return ($n->is_neg ? '-' : '') . $digits;
}

# The values of the profile debezium as those of the readable one.
sub readable ($table, $row) {
    return undef unless $row;
    my %row = %$row;
    $row{price} = decimal($row{price}, 3) if defined $row{price};
    $row{n} = decimal($row{n}{value}, $row{n}{scale}) if $table eq 'typed';
    $row{at} =~ s/0+Z\z/Z/ if $table eq 'typed' && $row{at} =~ /\./;
    return \%row;
}

# The rows that a compacted topic holds, beside the tables.
sub compare_compacted ($name, $decode, $messages, @tables) {
    my @rows;
    my $left = CdcTest::Kafka::compacted(@$messages);
    for my $message (values %$left) {
        my $record = record($message->{value});
        my ($op, $row) = $decode->($record);
        my $source = $record->{source} // $record;
        push @rows, { op => 'r', schema => $source->{schema} // $source->{schema_name},
                      table => $source->{table} // $source->{table_name}, row => $row };
    }
    my $oracle = Oracle->new(keys => \%keys)->apply(@rows);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $oracle->faultless("$name, compacted: no row twice");
    $oracle->compare($pg, 'shop', "public.$_", columns => 'all', name => "$name, compacted: table $_") for @tables;
    return scalar @rows;
}

# By key: a tombstone behind each deletion and nowhere else, and changes in the order of their commits.
sub check_lives ($name, $decode, @messages) {
    my (@tombstones, @order);
    my $by_key = by_key(@messages);
    for my $key (sort keys %$by_key) {
        my ($op, $place) = ('', '');
        for my $message (@{ $by_key->{$key} }) {
            my $record = defined $message->{value} ? record($message->{value}) : undef;
            push @tombstones, "$key: after " . ($op // 'a tombstone') if ($op // '') eq 'd' ? $record : !$record;
            $op = undef;
            next unless $record;
            ($op) = $decode->($record);
            my $source = $record->{source} // $record;
            my ($commit, $seq) = ($source->{commit_lsn}, $source->{tx_seq} // $source->{seq});
            next unless defined $commit;
            my $this = sprintf '%020d %010d', $commit =~ m{/} ? lsn_num($commit) : $commit, $seq;
            push @order, "$key: $this after $place" if $this le $place;
            $place = $this;
        }
        push @tombstones, "$key: none in the end" if ($op // '') eq 'd';
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    none(\@tombstones, "$name: a tombstone behind each deletion, and only there");
    none(\@order, "$name: the changes of a key are in order");
}

{
    $pg->sql('shop', CdcTest::Workload::work(1, 150));
    $pg->sql('shop', <<~'SQL');
        INSERT INTO odd SELECT E'\t"' || g || E'"\n', repeat(E'\n', g % 5) FROM generate_series(1, 40) g;
        INSERT INTO log SELECT g, 'y' || g FROM generate_series(1, 30) g;
        INSERT INTO typed SELECT g / 10.0, timestamptz '2020-02-29 23:59:59.5+00' + g * interval '1 day',
            md5(g::text)::uuid, g FROM generate_series(-20, 20) g;
        SQL
    my %topic;
    for my $shape (@shapes) {
        my ($name, $options) = @$shape;
        $topic{$name} = $kafka->topic("shape.$name", 4);
        through("$name: rows", $name, $topic{$name}, [qw(-m initial -E now), @$options]);
    }
    # What becomes of rows that were given, and new ones.
    $pg->sql('shop', CdcTest::Workload::work(2, 150));
    $pg->sql('shop', <<~'SQL');
        UPDATE item SET n = n + 1 WHERE id % 30 = 1;
        UPDATE item SET id = id + 5000000 WHERE id % 30 = 11;
        DELETE FROM item WHERE id % 90 = 21;
        DELETE FROM pair WHERE a = 1 AND b LIKE '%1';
        UPDATE odd SET v = v || E'\r\n' WHERE length(v) % 2 = 0;
        UPDATE odd SET k = k || '''' WHERE v = '';
        DELETE FROM odd WHERE length(v) = 1;
        UPDATE log SET y = y || E'\t' WHERE x % 3 = 0;
        DELETE FROM log WHERE x % 3 = 1;
        UPDATE typed SET v = v || '!' WHERE n < 0;
        UPDATE typed SET at = at + interval '1 microsecond' WHERE n > 1;
        DELETE FROM typed WHERE n IN (0, 0.5, 1.5);
        SQL
    for my $shape (@shapes) {
        my ($name, $options, $decode) = @$shape;
        through("$name: changes", $name, $topic{$name}, [qw(-m initial -E now), @$options]);
        my @messages = $kafka->messages($topic{$name});
        my $rows = compare_compacted($name, $decode, \@messages, qw(item pair odd log typed));
        cmp_ok($rows, '>', 100, "$name: many rows are left") or next;
        cmp_ok(@messages, '>', 2 * $rows, "$name: of many more messages");
        check_lives($name, $decode, @messages);
        cmp_ok(uniq(map { $_->{partition} } @messages), '>', 1, "$name: in several partitions") if $kafka->is_mock;
    }
}

# ---- long messages ----

{
    my $topic = $kafka->topic('big');
    my @args = (qw(-m never -t big -e plain -E now));
    through('big: a slot', 'big', $topic, \@args);
    $pg->sql('shop', q(INSERT INTO big SELECT g, repeat(E'é\n', 225000) || g FROM generate_series(1, 3) g));
    through('big', 'big', $topic, \@args);
    my @messages = $kafka->messages($topic);
    is(join(' ', sort map { record($_->{key})->{no} } @messages), '1 2 3', 'big: messages of 900 kB');
    my $body = "é\n" x 225_000;
    is(scalar(grep { record($_->{value})->{row}{body} eq $body . record($_->{key})->{no} } @messages), 3, 'big: with all of their text');

    # One that is longer than kcat takes unless told to: it reads no further.
    $pg->sql('shop', q(INSERT INTO big VALUES (4, 'short'); INSERT INTO big VALUES (5, repeat('x', 1200000)); INSERT INTO big VALUES (6, 'short')));
    my ($c, $kcat) = pipeline('big', $topic, \@args);
    $kcat->exited(1, 'too big: kcat ends');
    like($kcat->err, qr/too large/, 'too big: and says why');
    $c->wait->signaled('PIPE', 'too big: so does cdcdump');
    through('too big: with a larger limit', 'big', $topic, \@args, kcat => ['-X', 'message.max.bytes=2000000']);
    # The one before it may have gone with kcat, which had read it.
    my %at = map { (record($_->{key})->{no} => $_->{value}) } $kafka->messages($topic);
    is(join(' ', map { $_ . ':' . length(record($at{$_} // '{}')->{row}{body} // '') } 5, 6), '5:1200000 6:5', 'too big: it is there then');
}

# ---- kills ----

# A backlog, and the lines that an undisturbed run makes of it.
$pg->sql('shop', "SELECT pg_create_logical_replication_slot('base', 'pgoutput')");
$pg->sql('shop', CdcTest::Workload::work($_, 1800)) for 3, 4;
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');

sub copy_slot ($name) {
    $pg->sql('shop', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$name'");
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('base', '$name')");
    unlink "$dir/$name.json";
}

my @to_end = (qw(-m never -e plain --status-interval 0.02 -E), $end);
copy_slot('undisturbed');
my @lines = Cdc->run(server => $pg, db => 'shop', args => args('undisturbed', @keyed, @to_end))->lines;
my %want = map { ($_ => 1) } @lines;
my %final;    # key -> the last line
$final{ (split /\t/)[0] } = $_ for @lines;
cmp_ok(@lines, '>', 3000, 'a backlog');

sub commit_of ($line) { return $line =~ /"commit_lsn":"([^"]+)"/ ? lsn_num($1) : undef }

# Slow enough for a kill in its middle: a mock broker that takes its time, and a kcat that waits for it.
my @slow = ('-X', 'queue.buffering.max.messages=200', '-X', 'queue.buffering.max.ms=1');
sub slowly ($ms) { $kafka->rtt($ms) if $kafka->is_mock }

# A pipeline of which one is killed once the position has moved, and some time after that; false when
# it came to its end before.
sub kill_one ($name, $topic, $which, $pause = 0) {
    my $before = saved_lsn($name);
    slowly(100);
    my ($c, $kcat) = pipeline($name, $topic, \@to_end, kcat => \@slow);
    wait_until(sub { saved_lsn($name) > $before || !$c->running }, 60, "a position of $name");
    sleep $pause;
    my $hit = ($which eq 'kcat' ? $kcat : $c)->kill('KILL');
    slowly(0);
    my $r = $c->wait;
    $kcat->wait;
    return ($hit && ($which eq 'kcat' ? defined $r->signal : ($r->signal // 0) == 9), $r);
}

# Calls $round with a new slot and topic until it has hit: a machine may be too slow to kill in time.
sub until_hit ($name, $round) {
    for my $n (1 .. 5) {
        copy_slot($name);
        return 1 if $round->($kafka->topic("$name.$n", 4));
    }
    return ok(0, "$name: a kill in the middle");
}

until_hit('killed', sub ($topic) {
    my $hits = 0;
    for my $n (0 .. 2) { $hits += (kill_one('killed', $topic, 'cdcdump', $n * 0.3))[0] }
    return 0 unless $hits;
    through('killed: the run after the kills', 'killed', $topic, \@to_end);
    my @messages = $kafka->messages($topic);
    # What a killed program has written of a line becomes a message.
    my @torn = grep { !$want{ line_of($_) } } @messages;
    my @wrong = grep { my $torn = defined $_->{key} ? line_of($_) : $_->{value}; !grep { index($_, $torn) == 0 } @lines } @torn;
    none([map { line_of($_) } @wrong], 'killed: no other messages but pieces of lines');
    cmp_ok(@torn, '<=', $hits, 'killed: at most one a kill') and note(@torn . " pieces, $hits kills");
    my @whole = grep { $want{ line_of($_) } } @messages;
    my %got = map { (line_of($_) => 1) } @whole;
    none([grep { !$got{$_} } @lines], 'killed: every message at least once');
    my $by_key = by_key(grep { defined $_->{key} } @messages);
    none([grep { line_of($by_key->{$_}[-1] // {}) ne $final{$_} } sort keys %final], 'killed: the last message of each key is the right one');
    return 1;
});

# What kcat has read is accepted: of that, what it had not sent is lost with it, and nothing else.
until_hit('reader', sub ($topic) {
    my ($hit, $r) = kill_one('reader', $topic, 'kcat');
    return 0 unless $hit;
    $r->signaled('PIPE', 'kcat killed: cdcdump ends by SIGPIPE');
    my $position = saved_lsn('reader');
    my %before = map { (line_of($_) => 1) } $kafka->messages($topic);
    through('kcat killed: the next run', 'reader', $topic, \@to_end);
    my %got = map { (line_of($_) => 1) } $kafka->messages($topic);
    none([grep { !$want{$_} } sort keys %got], 'kcat killed: nothing but what cdcdump has written');
    none([grep { !$got{$_} && (commit_of($_) // 0) >= $position } @lines], 'kcat killed: what comes behind the position is there');
    my $unread = first { defined commit_of($_) && commit_of($_) >= $position } @lines;
    ok($unread && !$before{ $lines[-1] }, 'kcat killed: in the middle');
    return 1;
});

# By way of files nothing is lost, whoever is killed: a file goes when kcat has delivered all of it.
{
    my $spool = "$dir/spool";
    my @tables = qw(item pair odd log typed);
    my @args = (@keyed, qw(-m initial -T big -e plain -f), "$spool/{topic}/{lsn}");
    my %topic = map { ("shop.public.$_" => $kafka->topic("shop.public.$_", 4)) } @tables;
    my %got;
    my $spooled = sub ($what) {
        Cdc->run(server => $pg, db => 'shop', args => args('spooled', @args, -E => 'now'))->exited(0, "spooled: $what");
        is(scalar(grep { /\.partial\z/ } glob "$spool/*/*"), 0, "spooled: $what: every file is whole");
    };
    my $topic_of = sub ($file) { return $topic{ ($file =~ m{([^/]+)/[^/]+\z})[0] } // die "a topic nobody expects: $file\n" };
    my $send_all = sub ($what, @kcat) {
        my @files = sort grep { -s } glob "$spool/*/*";
        my $failed = 0;
        for my $file (@files) {
            my $kcat = $kafka->producer($topic_of->($file), from => $file, args => \@kcat)->wait;
            if ($kcat->{process}->exit // 1) { $failed++; diag($kcat->err) }
            $got{ $topic_of->($file) }{$_}++ for split /\n/, slurp($file);
            unlink $file;
        }
        ok(@files && !$failed, "spooled: $what");
    };
    $spooled->('rows');
    $send_all->('rows are delivered');
    $pg->sql('shop', CdcTest::Workload::work(5, 300));
    for (1 .. 2) {
        my $c = Cdc->start(server => $pg, db => 'shop', args => args('spooled', @args, '--status-interval' => 0.02));
        wait_until(sub { (grep { -s } glob "$spool/*/*.partial") || !$c->running }, 60, 'some output');
        $c->kill('KILL');
        $c->wait->signaled('KILL', 'spooled: cdcdump is killed');
    }
    $pg->sql('shop', CdcTest::Workload::work(6, 300));
    $spooled->('after kills');
    my ($longest) = sort { -s $b <=> -s $a } glob "$spool/*/*";
    slowly(100);
    my $kcat = $kafka->producer($topic_of->($longest), from => $longest, args => [@slow, qw(-v -v)]);
    wait_until(sub { !$kcat->running || $kcat->err =~ /delivered to partition/ }, 60, 'a message');
    ok($kcat->kill('KILL'), 'spooled: kcat is killed in the middle') if $kafka->is_mock;
    $kcat->wait;
    slowly(0);
    $pg->sql('shop', 'DELETE FROM odd WHERE length(v) > 3; UPDATE log SET x = -x WHERE x > 25');
    $spooled->('while there are files');
    $send_all->('all files are delivered');
    $pg->sql('shop', q(UPDATE typed SET v = v || '?'; DELETE FROM pair WHERE a = 5));
    $spooled->('more changes');
    # All of a file or nothing, for consumers that read what is committed.
    $send_all->('files are delivered in transactions', '-X', 'transactional.id=cdcdump');

    for my $table (@tables) {
        my $topic = $topic{"shop.public.$table"};
        my @messages = $kafka->messages($topic);
        my %there = map { (line_of($_) => 1) } @messages;
        none([grep { !$there{$_} } keys %{ $got{$topic} }], "spooled: $table: every message is there");
        none([grep { !$got{$topic}{$_} } keys %there], "spooled: $table: and no other");
        compare_compacted("spooled: $table", $shapes[0][2], \@messages, $table);
    }
}

# ---- a stop ----

# However little kcat has been given, it sends it when cdcdump ends.
{
    my $topic = $kafka->topic('stopped');
    $pg->sql('shop', "SELECT pg_create_logical_replication_slot('stopped', 'pgoutput')");
    my ($c, $kcat) = pipeline('stopped', $topic, [qw(-m never -e plain -t odd --status-interval 0.02)]);
    $pg->sql('shop', q(INSERT INTO odd VALUES ('before the stop', 1)));
    $c->wait_handler('USR1');
    $c->wait_written($pg->wal_lsn);
    $c->stop('INT')->exited(0, 'stopped: cdcdump');
    $kcat->exited(0, 'stopped: kcat');
    is(join(' ', map { record($_->{key})->{k} } $kafka->messages($topic)), 'before the stop', 'stopped: the message is there');
}

# ---- a broker that goes ----

SKIP: {
    skip_without(CdcTest::Kafka::mock_program(), 'there is no mock broker that could be stopped', 7);
    $pg->sql('shop', "SELECT pg_create_logical_replication_slot('gone', 'pgoutput');
        SELECT pg_copy_logical_replication_slot('gone', 'gone_too')");
    my @args = (qw(-m never -e plain -t odd --status-interval 0.02));
    my $first = CdcTest::Kafka->new(mock => 1);
    $first->topic('gone');
    my ($c, $kcat) = pipeline('gone', 'gone', \@args, kafka => $first);
    # kcat takes notice of anything only while it reads, and it reads by the KiB.
    my $n = 0;
    my $insert = sub { $n++; $pg->sql('shop', "INSERT INTO odd VALUES ('change $n', repeat('x', 5000))") };
    wait_until(sub { $insert->(); return $first->messages('gone') > 0 }, 60, 'a message');
    $first->stop;
    wait_until(sub { $insert->() if $c->running; return !$c->running }, 60, 'the end of cdcdump');
    $kcat->exited(1, 'gone: kcat ends');
    like($kcat->err, qr/brokers are down/, 'gone: and says why');
    $c->wait->signaled('PIPE', 'gone: so does cdcdump');
    my $position = saved_lsn('gone');
    my $second = CdcTest::Kafka->new(mock => 1);
    $second->topic('gone');
    through('gone: the next run', 'gone', 'gone', [@args, -E => 'now'], kafka => $second);
    my @all = Cdc->run(server => $pg, db => 'shop', args => args('gone_too', @keyed, @args, -E => 'now'))->lines;
    my @rest = grep { commit_of($_) >= $position } @all;
    ok(@rest > 0 && @rest < @all, 'gone: a part was accepted before');
    is(join("\n", map { line_of($_) } $second->messages('gone')), join("\n", @rest), 'gone: what comes behind the position comes then');
    $second->stop;
}

done_testing;
