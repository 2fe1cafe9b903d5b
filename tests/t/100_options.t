# The command line: --help, --version, what is refused and how, the ways to name a database.
use v5.36;
use utf8;
use CdcTest;

my $see_help = qq(HINT:  Try "cdcdump --help" for more information.\n);

# A run that ends before it asks any server: status 2, the exact words on stderr, no data.
sub refused ($args, $said, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = Cdc->run(args => $args, timeout => 10);
    $r->exited(2, $name);
    is($r->err, $said, "$name: says so");
    is($r->out, '', "$name: nothing on standard output");
}

sub misused ($args, $message, $name, @more) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    refused($args, "cdcdump: error: $message\n" . join('', map { "$_\n" } @more) . $see_help, $name);
}

# ---- what it says about itself ----

my $help = Cdc->run(args => ['--help']);
$help->exited(0, '--help');
is($help->err, '', '--help: nothing on standard error');
is((sort { $b <=> $a } map { length } $help->lines)[0] <= 80, 1, '--help fits into 80 columns');
ok(!(grep { /[ \t]\z/ } $help->lines), '--help has no blanks at line ends');
like($help->out, qr/^Usage:\n  cdcdump \[OPTION\]\.\.\. \[DBNAME \| CONNINFO \| URI\]$/m, 'with the usage');
my %options = (
    dbname => 'd', host => 'h', port => 'p', username => 'U', 'no-password' => 'w', password => 'W',
    slot => 'S', plugin => 'P', 'startup-mode' => 'm', schema => 'n', 'exclude-schema' => 'N',
    table => 't', 'exclude-table' => 'T', 'exclude-column' => '', publication => '',
    'publication-mode' => '', 'replica-identity' => '', option => 'o', 'temporary-slot' => '',
    'drop-slot-on-stop' => '', failover => '', 'two-phase' => '', format => 'F', codec => '', envelope => 'e',
    'changelog-mode' => '', types => '', set => '', rotate => '', 'server-name' => '', 'key-delimiter' => 'K', tombstones => '', transactions => '',
    'schema-events' => '', messages => '', heartbeat => '', 'skip-ops' => '', file => 'f', state => '',
    ack => '', 'list-slots' => '', peek => '', check => '', 'create-slot' => '', 'drop-slot' => '', 'if-not-exists' => '', 'if-exists' => '', config => '',
    'metrics-file' => '', 'log-format' => '', 'ack-mode' => '', 'ack-fd' => '', 'ack-file' => '', exec => '', 'batch-rows' => '', 'batch-seconds' => '',
    'per-table' => '', 'exec-retries' => '', 'dead-letter' => '', 'stall-timeout' => '', startpos => 'I', force => '', until => 'E', count => '',
    'idle-exit' => '', 'max-time' => '', retries => '', 'retry-delay' => '', 'status-interval' => '',
    snapshot => '', jobs => 'j', 'chunk-size' => '', 'chunk-key' => '', 'snapshot-query' => '', progress => '',
    transport => '', 'catch-up-bytes' => '', stats => '', verbose => 'v', quiet => 'q', help => '', version => 'V',
);
my %told;    # long name -> letter
for ($help->lines) { $told{$2} = $1 // '' if /\A  (?:-(\w), |    )--([\w-]+)/ }
is_deeply(\%told, \%options, '--help names every option, with its letter');
is(Cdc->run(args => ['-?'])->out, $help->out, '-? is --help');

my $version = Cdc->run(args => ['--version']);
$version->exited(0, '--version');
like($version->out, qr/\Acdcdump \d+\.\d+\.\d+\n\z/, 'one line');
is(Cdc->run(args => ['-V'])->out, $version->out, '-V is --version');

for my $about (qw(--help --version)) {
    my $r = Cdc->run(args => [$about], stdout => '>/dev/full');
    ok($r->exit, "$about onto a full disk is a failure");
    is($r->err, "cdcdump: error: could not write to standard output: No space left on device\n",
        "$about onto a full disk: says so");
}

# ---- words that are wrong ----

misused(['--nonsense'], 'unrecognized or ambiguous option "--nonsense"', 'an unknown option');
misused(['--nonsense=1'], 'unrecognized or ambiguous option "--nonsense=1"', 'an unknown option with a value');
misused(['-x'], 'unrecognized or ambiguous option "-x"', 'an unknown letter');
misused(['-qx'], 'unrecognized or ambiguous option "-x"', 'an unknown letter behind a known one');
misused(['--pub'], 'unrecognized or ambiguous option "--pub"', 'a beginning of two options');
misused([qw(-S s --drop-s)], 'unrecognized or ambiguous option "--drop-s"', 'a beginning of --drop-slot and --drop-slot-on-stop');
misused(['--messages=yes'], 'unrecognized or ambiguous option "--messages=yes"', 'a value that is one too many');
misused(['-S'], 'option "-S" needs a value', 'a missing value');
misused(['--slot'], 'option "--slot" needs a value', 'a missing value of a long option');
misused([qw(-S s -m never), 'shop', 'x', 'y'], 'too many command-line arguments (first is "x")', 'two names of databases');
misused([qw(-S s -m never -d shop x)], 'too many command-line arguments (first is "x")', '-d and a name');

my $modes = 'initial, latest-offset, never, no_data, schema_only, committed-offset, schema_only_recovery, '
    . 'recovery, snapshot, initial_only, when_needed, always';
misused([qw(-S s -m x)], qq(invalid startup mode "x": must be one of $modes), 'an unknown mode names all allowed ones');
misused([qw(-S s --startup-mode=)], qq(invalid startup mode "": must be one of $modes), 'an empty mode');
misused([qw(-S s -m Never)], qq(invalid startup mode "Never": must be one of $modes), 'modes are case-sensitive');
for (
    [-P => 'plugin', 'pgoutput, wal2json, wal2json_rds, wal2json_streaming, wal2json_rds_streaming, decoderbufs, test_decoding'], ['-F' => 'format', 'ndjson, csv, avro'], [-e => 'envelope', 'debezium, debezium-0.9, flink, plain'],
    ['--types' => 'types profile', 'readable, debezium'], ['--codec' => 'codec', 'null, deflate, zstandard, snappy'],
    ['--changelog-mode' => 'changelog mode', 'all, upsert'],
    ['--publication-mode' => 'publication mode', 'filtered, all-tables, existing'],
    ['--log-format' => 'log format', 'text, json'],
    ['--ack-mode' => 'ack mode', 'written, read, reply, deferred'], ['--snapshot' => 'snapshot mode', 'consistent, incremental'],
) {
    my ($option, $what, $allowed) = @$_;
    misused([qw(-S s -m never), $option, 'x'], qq(invalid $what "x": must be one of $allowed), "a wrong $what");
}
misused([qw(-S s -m never --replica-identity=x)],
    'invalid replica identity "x": must be one of keep, full, default, nothing, index:NAME', 'a wrong identity');
misused([qw(-S s -m never --replica-identity=index:)],
    'invalid replica identity "index:": must be one of keep, full, default, nothing, index:NAME', 'an index without a name');

for my $option ('heartbeat', 'stall-timeout', 'idle-exit', 'max-time', 'retry-delay', 'status-interval', 'stats') {
    my %what = ('idle-exit' => 'idle time', 'max-time' => 'maximum time', stats => 'statistics interval');
    my $what = $what{$option} // $option =~ tr/-/ /r;
    for my $value ('', '0', '-1', 'x', '1s', '1e99', 'nan', 'inf', '0x10000000000', '0.0000001') {
        my $r = Cdc->run(args => [qw(-S s -m initial), "--$option=$value"]);
        is($r->err, qq(cdcdump: error: invalid $what "$value": must be a number of seconds greater than 0\n$see_help),
            qq(--$option "$value" is refused));
    }
}
for my $option ('count', 'retries', 'jobs', 'chunk-size') {
    my %what = (retries => 'number of retries', jobs => 'number of jobs');
    my $what = $what{$option} // $option =~ tr/-/ /r;
    for my $value ('', '-1', 'x', '1.5', '99999999999999999999') {
        misused([qw(-S s -m never), "--$option", $value], qq(invalid $what "$value": must be a whole number from 0 on),
            qq(--$option "$value"));
    }
}
for my $value ('', 'x', '0/0', '16', '1/', '/1', '1/123456789', '1/2x', '0x1/1') {
    misused([qw(-S s -m never -I), $value], qq(invalid start position "$value": must be an LSN such as 16/B374D848), qq(-I "$value"));
}
for my $value ('', '0/0') {
    misused([qw(-S s -m never -E), $value], qq(invalid end "$value": must be an LSN, "now" or a timestamp), qq(-E "$value"));
}
misused([qw(-S s -m never --skip-ops=cx)], 'invalid operation "x" in "cx": must be letters of cudtm', 'a wrong operation',
    'DETAIL:  These are c (insert), u (update), d (delete), t (truncate) and m (message).');

# ---- what does not go together ----

misused(['-m', 'never'], 'no replication slot given', 'no slot', 'HINT:  Name it with -S; it is created when it does not exist.');
for my $slot ('', 'A', 'a-b', "a'b", 'é', 'x' x 64) {
    misused(['-m', 'never', '-S', $slot], qq(invalid replication slot name "$slot") =~ s/é/\xc3\xa9/r, qq(slot "$slot"),
        'HINT:  Replication slot names have 1 to 63 lower case letters, digits and underscores.');
}
misused([qw(-S s -m never --temporary-slot --state f)], '--temporary-slot and --state cannot be used together', 'a temporary slot and a state file',
    'DETAIL:  A temporary slot does not outlive its connection, so there is no position to remember.');
misused([qw(-S s -m never --temporary-slot --failover)], '--temporary-slot and --failover cannot be used together', 'a temporary failover slot');
misused([qw(-S s -m never --two-phase)], '--two-phase needs --transactions', 'two-phase without transactions',
    'DETAIL:  Without records for PREPARE, COMMIT PREPARED and ROLLBACK PREPARED nobody could tell what became of the changes.');
misused([qw(-S s -m never -q -v)], '-q and -v cannot be used together', '-q and -v');
misused([qw(-S s -m never --force)], '--force needs -I', '--force without -I');
misused([qw(-S s -m never --tombstones)], '--tombstones needs keys', 'tombstones without keys', q(HINT:  Add -K, for example -K '\\t'.));
for my $delimiter ('', '\\', '\\q', '\\x', 'a\\', '\\n', "a\nb", '\\x0a') {
    misused([qw(-S s -m never -K), $delimiter], qq(invalid key delimiter "$delimiter"), 'key delimiter ' . ($delimiter =~ s/\n/<newline>/r),
        'HINT:  Give one or more characters other than a newline; \\t, \\r, \\\\, \\0 and \\xHH are understood.');
}
misused([qw(-S s -m never -P pgoutput -o), $_], 'plugin option "' . s/=.*//r . '" is set by cdcdump itself', "-o $_",
    'HINT:  Use --publication, --messages or --two-phase.  Transactions are read when they have committed; '
    . 'streaming of unfinished ones is not supported.')
    for 'proto_version=2', 'publication_names=p', 'messages', 'two_phase=on', 'streaming=parallel';
misused([qw(-S s -m never -P pgoutput -o), $_], 'unrecognized plugin option "' . $_ . '"', "-o $_",
    'HINT:  pgoutput knows binary (14+) and origin (16+).')
    for 'include-xids=1', 'bin', 'binaryx=true', '=true';
misused([qw(-S s -m never), '--file='], 'the output file has an empty name', 'an empty file name');

# ---- actions ----

my @actions = qw(list-slots peek check create-slot drop-slot ack);
for my $i (0 .. $#actions) {
    my ($one, $other) = ($actions[$i], $actions[$i - 1]);
    misused(['-S', 's', "--$one", "--$other"], "--$one and --$other cannot be used together", "--$one and --$other");
}
for (
    ['list-slots', '--table=x'], ['list-slots', '--state=f'], ['list-slots', '--plugin=pgoutput'], ['list-slots', '--startup-mode=never'],
    ['peek', '--state=f'], ['peek', '--startup-mode=initial'], ['peek', '--ack-mode=read'], ['peek', '--exec=cat'], ['peek', '--publication-mode=existing'],
    ['peek', '--drop-slot-on-stop'], ['peek', '--replica-identity=full'], ['peek', '--jobs=2'], ['peek', '--metrics-file=f'], ['peek', '--rotate=1MB'],
    ['create-slot', '--state=f'], ['create-slot', '--format=csv'], ['create-slot', '--until=now'], ['create-slot', '--if-exists'],
    ['drop-slot', '--table=x'], ['drop-slot', '--plugin=pgoutput'], ['drop-slot', '--state=f'], ['drop-slot', '--if-not-exists'],
    ['check', '--if-exists'], ['ack', '--if-not-exists'],
) {
    my ($action, $option) = @$_;
    my $name = $option =~ s/=.*//r;
    misused(['-S', 's', "--$action", $option], "--$action and $name cannot be used together", "$name with --$action");
}
misused([qw(-S s --config a --config b)], '--config can be given once', 'two files');
misused([qw(-S s --if-exists)], '--if-exists needs --drop-slot', '--if-exists in a capture');
misused([qw(-S s --if-not-exists)], '--if-not-exists needs --create-slot', '--if-not-exists in a capture');
misused([qw(--list-slots -F avro)], 'invalid format for --list-slots: must be one of ndjson, csv', 'slots in Avro');
misused(["--$_"], 'no replication slot given', "--$_ without a slot", 'HINT:  Name it with -S.') for qw(peek create-slot drop-slot);
misused(['--check'], 'no replication slot given', '--check without a slot', 'HINT:  Name it with -S; it is created when it does not exist.');
misused([qw(-S s --peek -f), '{table}.json'], '--peek and placeholders in -f cannot be used together', 'files of tables at a peek',
    'DETAIL:  Nothing that is looked at is accepted.');

# ---- formats and files ----

my $placeholders = 'HINT:  There are {schema}, {table}, {topic}, {lsn} and {date}.';
misused([qw(-S s -f), "out-$_->[0].json"], qq(unknown placeholder "$_->[1]" in the name of the output file), "-f with $_->[0]", $placeholders)
    for ['{name}', '{name}'], ['{Table}', '{Table}'], ['{}', '{}'], ['{table', '{table.json'], ['table}', '}'], ['{{table}}', '{{table}'];
my $rotations = 'must be a number of seconds, or a size in B, kB, MB, GB or TB';
misused([qw(-S s -f {table} --rotate), $_], qq(invalid rotation "$_": $rotations), qq(--rotate "$_"))
    for '', '0', '-1', 'x', '1mb', '1 MB', '0MB', 'MB', '1e30MB', 'nan', 'infMB', '5x';
misused([qw(-S s -f out --rotate 1MB)], '--rotate needs placeholders in the name of the output file', '--rotate and one file',
    q(HINT:  For example -f '{schema}.{table}-{lsn}.ndjson'.));
for my $other (['--transactions'], ['--schema-events'], ['--messages'], ['--heartbeat', '1']) {
    my $alone = 'CSV and Avro carry changes of rows alone.';
    misused(['-S', 's', '-F', 'csv', @$other], "$other->[0] and -F csv cannot be used together", "$other->[0] in CSV", "DETAIL:  $alone");
    misused(['-S', 's', '-F', 'avro', @$other], "$other->[0] and -F avro cannot be used together", "$other->[0] in Avro", "DETAIL:  $alone");
    misused(['-S', 's', '-e', 'flink', @$other], "$other->[0] and -e flink cannot be used together", "$other->[0] in flink",
        'DETAIL:  That envelope carries changes of rows alone.');
    misused(['-S', 's', '-f', '{table}', @$other], "$other->[0] and placeholders in -f cannot be used together", "$other->[0] in files of tables",
        'DETAIL:  The files are of tables; that record is about none.');
}
misused(['-S', 's', '-F', $_, '-K', ':'], "-F $_ and -K cannot be used together", "keys in $_", 'DETAIL:  Keys stand before lines of NDJSON.') for qw(csv avro);
misused([qw(-S s -F csv -e), $_], 'invalid envelope for CSV: must be one of flink, debezium', "$_ in CSV") for qw(plain debezium-0.9);
misused([qw(-S s -F avro -e debezium-0.9)], 'invalid envelope for Avro: must be one of debezium, flink, plain', 'debezium-0.9 in Avro');
misused([qw(-S s --codec null), @$_], '--codec needs -F avro', "--codec with @$_") for [], [qw(-F csv)];
misused([qw(-S s --changelog-mode upsert), @$_], '--changelog-mode needs -e flink', "--changelog-mode with @$_") for [], [qw(-F csv -e debezium)], [qw(-F avro)];
my $texts = q(DETAIL:  The cells are PostgreSQL's own texts, as COPY writes them.);
misused([qw(-S s -F csv --types=debezium)], '-F csv -e flink and --types cannot be used together', '--types and the cells of flink', $texts);
misused([qw(-S s -F csv --set decimal.handling.mode=double)], '-F csv -e flink and --set cannot be used together', '--set and the cells of flink', $texts);
misused([qw(-S s -F avro --types=debezium)], '-F avro and --types=debezium cannot be used together', "Debezium's types in Avro",
    'DETAIL:  Avro has logical types of its own; --set changes single ones.');
misused([qw(-S s -F avro --set time.precision.mode=connect)], 'invalid time.precision.mode for Avro: must be isostring', "Connect's times in Avro",
    q(DETAIL:  Without it dates and times have Avro's logical types, in microseconds.));

# ---- single rules for values ----

my $settings = 'decimal.handling.mode, time.precision.mode, interval.handling.mode, binary.handling.mode, hstore.handling.mode, '
    . 'unavailable.value.placeholder, money.fraction.digits, include.unknown.datatypes';
misused([qw(-S s --set), $_->[0]], qq(unknown setting "$_->[1]": must be one of $settings), "--set $_->[0]")
    for ['x=1', 'x'], ['x', 'x'], ['=1', ''], ['decimal.handling=double', 'decimal.handling'];
misused([qw(-S s --set decimal.handling.mode)], 'setting "decimal.handling.mode" has no value', 'a setting without a value', 'HINT:  Write NAME=VALUE.');
for (
    ['decimal.handling.mode', 'one of precise, double, string'],
    ['time.precision.mode', 'one of adaptive, adaptive_time_microseconds, connect, isostring, microseconds, nanoseconds'],
    ['interval.handling.mode', 'one of numeric, string'], ['binary.handling.mode', 'one of bytes, base64, base64-url-safe, hex'],
    ['hstore.handling.mode', 'one of json, map'], ['money.fraction.digits', 'a number from 0 to 18'],
    ['include.unknown.datatypes', 'true or false'],
) {
    my ($name, $allowed) = @$_;
    misused(['-S', 's', '--set', "$name=$_"], qq(invalid value "$_" for $name: must be $allowed), "$name=$_") for 'x', '', '19x';
}

# ---- rows of tables ----

for my $mode (qw(latest-offset never no_data schema_only committed-offset schema_only_recovery recovery)) {
    misused(['-S', 's', '-m', $mode, $_->[0]], "$_->[1] needs a startup mode that reads rows", "$_->[0] and mode $mode",
        'HINT:  These are initial, snapshot, initial_only, when_needed and always.')
        for ['-j2', '--jobs'], ['--snapshot=consistent', '--snapshot'], ['--snapshot=incremental', '--snapshot'],
            ['--snapshot-query=public.t=SELECT 1', '--snapshot-query'];
}
for (['number of jobs', 64, '-j'], ['chunk size', 1000000000, '--snapshot=incremental', '--chunk-size']) {
    my ($what, $most, @option) = @$_;
    misused(['-S', 's', @option, $_], "invalid $what $_: must be from 1 to $most", "$option[-1] $_") for 0, $most + 1;
}
for my $mode (undef, qw(initial snapshot initial_only when_needed always)) {
    misused(['-S', 's', defined $mode ? ('-m', $mode) : (), @$_[0 .. $#$_ - 1]], "$_->[-1] needs --snapshot=incremental", "$_->[0] without chunks, mode " . ($mode // 'not given'))
        for ['--chunk-key=id', '--chunk-key'], ['--chunk-size=10', '--chunk-size'], ['--snapshot=consistent', '--chunk-size=10', '--chunk-size'];
}
misused([qw(-S s -m initial_only --snapshot=incremental)], '--snapshot=incremental and -m initial_only cannot be used together', 'chunks of one point in time',
    'DETAIL:  Rows as of one point in time are what a consistent snapshot gives.',
    'HINT:  Use -m snapshot for rows and the changes that were made while they were read.');
misused([qw(-S s --snapshot=incremental --two-phase --transactions)], '--snapshot=incremental and --two-phase cannot be used together', 'chunks and two-phase',
    'DETAIL:  Rows show a transaction when it has committed, not when it is prepared.');
misused([qw(-S s --snapshot=incremental -o binary)], '--snapshot=incremental and -o binary cannot be used together', 'chunks and binary',
    'DETAIL:  Keys are compared by their text.');
misused(['-S', 's', "--snapshot-query=$_"], qq(invalid snapshot query "$_": must be schema.table=SELECT \xe2\x80\xa6), qq(--snapshot-query "$_"))
    for '', 'x', 'SELECT 1', 'public.t', 'public.t=', 't=SELECT 1', '.t=SELECT 1', 'public.=SELECT 1', 'a=b.c';

# ---- the modes that read no rows, and their synonyms ----

my $pg = PgServer->new;
$pg->create_db($_) for 'shop', q(a 'b' \\c);
$pg->sql($_, 'CREATE TABLE t (id int PRIMARY KEY)') for 'shop', q(a 'b' \\c);
my @bound = qw(-E now --retries 0);

for my $mode (qw(latest-offset never no_data schema_only)) {
    my $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', "s_$mode" =~ tr/-/_/r, '-m', $mode, @bound]);
    $r->exited(0, "mode $mode creates a slot");
    like($r->err, qr/^cdcdump: created replication slot "s_\w+" at [0-9A-F]+\/[0-9A-F]+$/m, "mode $mode says so");
}
my $slots = sub { $pg->sql('postgres', 'SELECT count(*) FROM pg_replication_slots') };
is($slots->(), 4, 'there they are');
for my $mode (qw(committed-offset schema_only_recovery recovery)) {
    my $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', 'missing', '-m', $mode, @bound]);
    $r->exited(2, "mode $mode does not create a slot");
    is($r->err, qq(cdcdump: error: replication slot "missing" does not exist\n)
        . qq(HINT:  Create it first, or use -m never, which creates it.\n), "mode $mode says so");
    Cdc->run(server => $pg, db => 'shop', args => ['-S', 's_never', '-m', $mode, @bound])
        ->exited(0, "mode $mode goes on with one that is there");
}
is($slots->(), 4, 'no slot came of that');

# ---- the ways to say which database ----

my $n = 0;
sub reaches ($db, $name, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $slot = 'reach' . $n++;
    my $r = Cdc->run(%how, args => ['-S', $slot, '-m', 'never', @bound, @{ $how{args} }]);
    $r->exited(0, $name);
    is($pg->slot($slot) && $pg->slot($slot)->{database}, $db, "$name: the right database");
    $pg->sql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'");
}

my $env = $pg->env;
my @host = ('-h', $pg->sockdir, '-p', $pg->port, '-U', 'postgres');
reaches('shop', '-d with a name', args => [@host, '-d', 'shop']);
reaches('shop', 'long options', args => ['--host', $pg->sockdir, '--port=' . $pg->port, '--username=postgres', '--dbname=shop', '-w']);
reaches('shop', 'a name as argument', args => [@host, 'shop']);
reaches('shop', 'the argument may come first', args => ['shop', @host]);
reaches('shop', 'the argument behind --', args => [@host, '--', 'shop']);
reaches('shop', 'a conninfo string as argument', args => [$pg->connstr('shop')]);
reaches('shop', 'a conninfo string with -d', args => ['-d', $pg->connstr('shop')]);
reaches('shop', 'a URI as argument', args => [$pg->uri('shop')]);
reaches('shop', 'a URI with a socket', args => ['postgresql:///shop?host=' . $pg->sockdir . '&user=postgres&port=' . $pg->port]);
reaches('shop', 'a URI of the short scheme', args => [$pg->uri('shop') =~ s/\Apostgresql/postgres/r]);
reaches('shop', 'the environment', args => [], env => $pg->env('shop'));
$pg->sql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)');
reaches('postgres', "libpq's default for the name", args => [], env => $env);
reaches('shop', 'a name over the environment', args => ['shop'], env => $pg->env('postgres'));
reaches('shop', 'a conninfo string completed by the environment', args => ['dbname=shop'], env => $env);
reaches('shop', "the conninfo string over -U, as PostgreSQL's programs have it", args => ['-U', 'nobody_there', $pg->connstr('shop')]);
reaches(q(a 'b' \\c), 'a name with quotes', args => [@host, q(a 'b' \\c)]);
my $service = scratch() . '/service.conf';
spew($service, "[shop-service]\nhost=" . $pg->sockdir . "\nport=" . $pg->port . "\nuser=postgres\ndbname=shop\n");
reaches('shop', 'a service', args => ['service=shop-service'], env => { PGSERVICEFILE => $service });

my $bad = Cdc->run(args => [qw(-S s -m never), 'dbname=shop nonsense=1']);
$bad->exited(2, 'a conninfo string with an unknown keyword');
like($bad->err, qr/\Acdcdump: error: .*nonsense/, 'names it');
my $gone = Cdc->run(server => $pg, db => 'gone', args => [qw(-S s -m never)]);
$gone->exited(2, 'no such database');
like($gone->err, qr/\Acdcdump: error: .*database "gone" does not exist$/m, 'names it');
my $away = Cdc->run(args => [qw(-S s -m never -h 127.0.0.1 -U postgres -p), PgServer::free_port()]);
$away->exited(3, 'no server there');
like($away->err, qr/\Acdcdump: error: .*Connection refused/, 'says so');
is($_->out, '', 'no data with an error') for $bad, $gone, $away;

# A password that the server asks for and that nobody gives.
my $hba = $pg->data_dir . '/pg_hba.conf';
my $trust = slurp($hba);
spew($hba, "local all locked scram-sha-256\nlocal replication locked scram-sha-256\n$trust");
$pg->sql('postgres', q(CREATE ROLE locked LOGIN REPLICATION SUPERUSER PASSWORD 'sesame-9'));
$pg->reload;
my @psql = (argv => [PgServer::bindir() . '/psql', '-Xwqc', 'SELECT', $pg->connstr('shop', user => 'locked')]);
$pg->wait_for(sub { CdcTest::Process->capture(@psql)->{exit} }, 10, 'the server to ask for a password');
my $no_password = Cdc->run(args => [qw(-S s -m never -w -d), $pg->connstr('shop', user => 'locked')]);
$no_password->exited(2, '-w and a server that wants a password');
like($no_password->err, qr/no password supplied/, 'says so');
my $wrong = Cdc->run(args => [qw(-S s -m never -w -d), $pg->connstr('shop', user => 'locked')], env => { PGPASSWORD => 'open-7' });
$wrong->exited(2, 'a wrong password');
like($wrong->err, qr/password authentication failed for user "locked"/, 'says so');
unlike($wrong->err, qr/open-7/, 'without printing it');
my $right = Cdc->run(args => [qw(-S locked -v -m never -w), @bound, '-d', $pg->connstr('shop', user => 'locked')], env => { PGPASSWORD => 'sesame-9' });
$right->exited(0, 'the right one');
unlike($right->err, qr/sesame/, 'is not printed');
my $passfile = scratch() . '/pgpass';
spew($passfile, "*:*:*:locked:sesame-9\n");
chmod 0600, $passfile;
Cdc->run(args => [qw(-S locked -m never -w), @bound, '-d', $pg->connstr('shop', user => 'locked')], env => { PGPASSFILE => $passfile })
    ->exited(0, 'a password file');

# ---- how much is said ----

my $quiet = Cdc->run(server => $pg, db => 'shop', args => [qw(-q -S quiet -m never), @bound]);
$quiet->exited(0, '-q');
is($quiet->err, '', 'says nothing when all is well');
$quiet = Cdc->run(server => $pg, db => 'shop', args => [qw(-q -S missing -m recovery), @bound]);
is($quiet->err, qq(cdcdump: error: replication slot "missing" does not exist\n)
    . qq(HINT:  Create it first, or use -m never, which creates it.\n), 'but says errors, with their hints');
my $normal = Cdc->run(server => $pg, db => 'shop', args => [qw(-S quiet -m never), @bound])->err;
my $verbose = Cdc->run(server => $pg, db => 'shop', args => [qw(-v -S quiet -m never), @bound])->err;
cmp_ok(length $verbose, '>', length $normal, '-v says more');
ok(!(grep { !/\A(?:cdcdump: (?:error: |warning: )?\S|DETAIL:  \S|HINT:  \S)/ } split /\n/, $verbose), 'each line in PostgreSQL style');

done_testing;
