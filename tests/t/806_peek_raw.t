# --peek of slots whose plugin cdcdump does not know: the messages as they are.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Process;
use File::Copy qw(copy);
use MIME::Base64 qw(decode_base64);

# Plugins that nobody has heard of: the server's own under other names, one of text and one of bytes.
my $libraries = scratch();
my $pg = PgServer->new;
my $pkglibdir = $pg->sql('postgres', q(SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'));
my $limits = $pg->sql('postgres', q(SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'));
my %from = (other_text => 'test_decoding', other_binary => 'pgoutput');
chmod 0755, $libraries;
for my $name (sort keys %from) {
    copy("$pkglibdir/$from{$name}.so", "$libraries/$name.so") or die "$from{$name}.so: $!";
    chmod 0755, "$libraries/$name.so";
}
$pg->append_conf({ dynamic_library_path => "$libraries:\$libdir", $limits ? (output_plugin_libraries => 'pgoutput, test_decoding, other_text, other_binary') : () });
$pg->restart;

# A database for each encoding, with a slot of its own.
my %db = (UTF8 => 'shop', LATIN1 => 'latin', SQL_ASCII => 'bytes');
for my $encoding (sort keys %db) {
    my $db = $db{$encoding};
    $pg->sql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
    $pg->sql($db, "CREATE TABLE t (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE t; "
        . "SELECT pg_create_logical_replication_slot('$db', 'other_text')");
}
$pg->sql('shop', q(SELECT pg_create_logical_replication_slot('binary', 'other_binary'); SELECT pg_create_logical_replication_slot('known', 'test_decoding')));

sub args ($slot, @more) { return ['--peek', -S => $slot, @more] }
sub peek ($slot, @more) { return Cdc->run(server => $pg, db => $slot =~ /^(?:latin|bytes)$/ ? $slot : 'shop', args => args($slot, @more)) }
sub start ($slot, %how) { return Cdc->start(server => $pg, db => 'shop', %how, args => args($slot, @{ $how{args} // [] })) }
my @passing = qw(active active_pid restart_lsn catalog_xmin inactive_since wal_status safe_wal_size);
sub slot ($name) {
    my %slot = %{ $pg->slot($name) };
    delete @slot{@passing};
    return canonical(\%slot);
}
sub texts ($r) { return map { $_->{text} } $r->records }

# ---- text ----

$pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (1, 'é"'); INSERT INTO t VALUES (2, E'a\\\\b\nc'); COMMIT; DELETE FROM t WHERE id = 1));
my $before = slot('shop');
my $expected = $pg->query('shop', q(SELECT lsn, xid, data FROM pg_logical_slot_peek_changes('shop', NULL, NULL)));
my ($first, $second) = ($expected->[0][1], $expected->[-1][1]);
my $r = peek('shop', '-v');
$r->exited(0, 'text: exit status 0');
my ($message) = $r->err =~ /^(.*not known.*)$/m;
is($message, 'cdcdump: plugin "other_text" is not known: printing its messages as they are', 'text: -v tells the plugin');
my (%seq, @rows);
push @rows, { op => 'raw', lsn => $_->[0], commit_lsn => undef, seq => ++$seq{ $_->[1] }, xid => $_->[1], ts => undef, text => $_->[2] } for @$expected;
is(canonical([map { +{ %$_, seq => "$_->{seq}", xid => "$_->{xid}" } } $r->records]), canonical([map { +{ %$_, seq => "$_->{seq}", xid => "$_->{xid}" } } @rows]), 'text: every message, as the server gives it');
is((scalar $r->lines), 7, 'text: a line each');
like(($r->lines)[0], qr/\A\{"op":"raw","lsn":"[0-9A-F]+\/[0-9A-F]+","commit_lsn":null,"seq":1,"xid":$first,"ts":null,"text":"BEGIN $first"\}\z/, 'text: in this order');
is(slot('shop'), $before, 'text: the slot is where it was');
is(peek('shop')->out, $r->out, 'text: the same once more');
is(join('|', texts(peek('shop', qw(-o include-xids=0 -o skip-empty-xacts))))
    , join('|', map { $_->[2] } @{ $pg->query('shop', q(SELECT lsn, xid, data FROM pg_logical_slot_peek_changes('shop', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', 'true'))) }),
    '-o: options for the plugin');
is((texts(peek('shop', qw(-o include-xids=0))))[0], 'BEGIN', '-o: really');
$r = peek('shop', '-o', 'none=1');
$r->exited(2, 'an option that the plugin does not know: exit status 2');
like($r->err, qr/error: could not look at the changes: option "none" = "1" is unknown\n/, 'an option that the plugin does not know: says so');

# ---- where it ends ----

my ($commit) = map { $_->{lsn} } grep { $_->{text} =~ /^COMMIT $first/ } peek('shop')->records;
my $begins = lsn_text(lsn_num($commit) - 1);
is((texts(peek('shop', -E => $begins)))[-1], "COMMIT $first", '-E within a commit record: that one is the last');
is(peek('shop', -E => '0/1')->out, '', '-E before all');
is((texts(peek('shop', '--count=1')))[-1], "COMMIT $first", '--count, at the end of a transaction');
is((texts(peek('shop', '--count=5')))[-1], "COMMIT $second", '--count, in the next one');
is((texts(peek('shop', qw(-E now))))[-1], "COMMIT $second", '-E now');

# ---- bytes ----

my @options = qw(-o proto_version=1 -o publication_names=p);
$before = slot('binary');
$expected = $pg->query('shop', q(SELECT lsn, xid, encode(data, 'hex') FROM pg_logical_slot_peek_binary_changes('binary', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')));
$r = peek('binary', @options, qw(-F ndjson -e plain));
$r->exited(0, 'bytes: exit status 0');
is($r->err, '', 'bytes: nothing to say');
is(join('|', map { "$_->{lsn} $_->{xid} " . unpack 'H*', decode_base64($_->{base64}) } $r->records), join('|', map { "@$_" } @$expected), 'bytes: every message in base64');
is(scalar(grep { exists $_->{text} } $r->records), 0, 'bytes: never as text');
is(slot('binary'), $before, 'bytes: the slot is where it was');
$r = peek('binary');
$r->exited(2, 'bytes, without what the plugin needs: exit status 2');
like($r->err, qr/error: could not look at the changes: .*\nDETAIL:  slot "binary", output plugin "other_binary", in the startup callback/, 'bytes, without what the plugin needs: the plugin says so');

$r = peek('binary', qw(-o proto_version=3 -o publication_names=p -o two_phase=on));
$r->exited(2, 'an option that would change the slot: exit status 2');
like($r->err, qr/error: --peek and plugin option "two_phase" cannot be used together\nDETAIL:  It would change the slot\.\n\z/, 'an option that would change the slot: says so');
is(slot('binary'), $before, 'an option that would change the slot: it does not');

$pg->sql('latin', q(INSERT INTO t VALUES (1, 'ü')));
is((texts(peek('latin')))[1], q(table public.t: INSERT: id[integer]:1 name[text]:'ü'), 'a database in LATIN1: UTF-8');
$pg->sql('bytes', q(INSERT INTO t VALUES (1, 'x'), (2, convert_from('\xff41', 'SQL_ASCII'))));
my @records = peek('bytes')->records;
is($records[1]{text}, q(table public.t: INSERT: id[integer]:1 name[text]:'x'), 'a database of bytes: text');
is(decode_base64($records[2]{base64}), qq(table public.t: INSERT: id[integer]:2 name[text]:'\xffA'), 'a database of bytes: what is no text');

# ---- a slot that somebody reads ----

my $recvlogical = PgServer::bindir() . '/pg_recvlogical';
SKIP: {
    skip_without(-x $recvlogical, 'no pg_recvlogical', 8);
    my %looked = (shop => peek('shop')->out, binary => peek('binary', @options)->out);
    for my $slot (qw(shop binary)) {
        my @more = $slot eq 'binary' ? @options : ();
        $before = slot($slot);
        my $reader = CdcTest::Process->spawn(stdout => 'null', stderr => 'null',
            argv => [$recvlogical, -d => $pg->connstr('shop'), -S => $slot, qw(--start -f /dev/null -F 0 --status-interval=600), @more]);
        my $pid = wait_until(sub { $pg->slot($slot)->{active_pid} }, 20, 'the reader');
        $r = peek($slot, @more);
        $r->exited(0, "in use, $slot: exit status 0");
        is($r->out, $looked{$slot}, "in use, $slot: what is pending");
        is($r->err, qq(cdcdump: replication slot "$slot" is in use by process $pid (pg_recvlogical): looking at a temporary copy of it\n),
            "in use, $slot: by whom, once");
        is(slot($slot), $before, "in use, $slot: the slot is where it was");
        $reader->kill('KILL');
        $reader->wait_exit(10);
        wait_until(sub { $pg->sql('postgres', 'SELECT count(*) FROM pg_replication_slots WHERE active OR temporary') == 0 }, 20, 'the end of the reader, and of the copy');
    }
}

# ---- how it ends ----

$pg->sql('shop', q(INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(10, 6000) g));
$before = slot('shop');
for my $signal (qw(INT TERM)) {
    my $c = start('shop');
    $c->read_lines(3);
    ok($c->kill($signal), "SIG$signal, with most of it unread: hits");
    my $r = $c->wait(20);
    $r->exited(0, "SIG$signal: exit status 0");
    like($r->out, qr/"seq":\d+.*\n\z/, "SIG$signal: the last line is whole");
}
{
    my $c = start('shop');
    $c->read_lines(3);
    ok($c->kill('KILL'), 'kill -9: hits');
    $c->wait->signaled('KILL', 'kill -9');
    $c = start('shop');
    $c->read_lines(3);
    $c->close_stdout;
    $c->wait->signaled('PIPE', 'the reader has gone');
}
$r = Cdc->run(server => $pg, db => 'shop', args => args('shop'), stdout => '>/dev/full');
$r->exited(5, 'a full disk: exit status 5');
like($r->err, qr/could not write to standard output: No space left on device/, 'a full disk: says so');
my $out = "$libraries/out";
$r = peek('shop', -f => $out);
$r->exited(0, '-f');
is(scalar(() = slurp($out) =~ /\n/g), 7 + 5993, '-f: all of it');
is($r->out, '', '-f: nothing on standard output');
{
    my $c = start('shop');
    $c->read_lines(3);
    $pg->sql('shop', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%peek_%changes%' AND pid <> pg_backend_pid()));
    $c->wait->exited(3, 'the connection is lost: exit status 3');
}
wait_until(sub { !$pg->slot('shop')->{active} }, 20, 'the slot to be free');
is(slot('shop'), $before, 'whatever ended it, the slot is where it was');

# ---- what is refused ----

sub refuses ($name, $said, @more) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = peek('shop', @more);
    $r->exited(2, "$name: exit status 2");
    like($r->err, $said, "$name: says why");
    is($r->out, '', "$name: no output");
}
my %refused = ('-n' => ['-n', 'x'], '-t' => ['-t', 't'], '--publication' => ['--publication=p'], '-F csv' => [qw(-F csv)], '-F avro' => [qw(-F avro)],
    'an envelope other than plain' => [qw(-e debezium)], '--types' => ['--types=debezium'], '-K' => ['-K', ':'], '--transactions' => ['--transactions'],
    '-I' => ['-I', '0/1'], 'a timestamp for -E' => ['-E', '2020-01-01'], '--idle-exit' => ['--idle-exit=1'], '--max-time' => ['--max-time=1']);
refuses($_, qr/\Acdcdump: error: \Q$_\E and plugin "other_text" cannot be used together\nDETAIL:  .*\.\n\z/, @{ $refused{$_} }) for sort keys %refused;
refuses('-P', qr/\Acdcdump: error: replication slot "shop" was created for plugin "other_text", not for "test_decoding"\nHINT:  Without -P its messages are printed as they are\.\n\z/,
    qw(-P test_decoding));
$r = Cdc->run(server => $pg, db => 'postgres', args => args('shop'));
$r->exited(2, 'another database: exit status 2');
like($r->err, qr/error: replication slot "shop" belongs to database "shop", not to "postgres"\n/, 'another database: says so');
like(peek('known', qw(-e plain))->out, qr/\A\{"op":"c"/, 'a plugin that is known is decoded');

done_testing;
