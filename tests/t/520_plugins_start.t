# How a run with each plugin begins: the slot's own plugin, what does not go together, the options that are
# sent and those that are taken back, servers that do not allow or do not have a plugin, and what is said.
use v5.36;
use CdcTest;
use File::Copy qw(copy);

# A plugin that nobody has heard of: PostgreSQL's example under another name.
my $libraries = scratch();
chmod 0755, $libraries;

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
my $major = PgServer::version();
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
my $dir = scratch();

# Whether the server has that library.
sub there ($library) {
    state %there;
    return $there{$library} //= do {
        my ($failed, undef, $why) = $pg->try_sql('postgres', "SELECT pg_create_logical_replication_slot('probe', '$library', true)");
        die $why if $failed && $why !~ /could not access file "$library"/;
        $failed ? 0 : 1;
    };
}

my @libraries = grep { there($_) } qw(pgoutput wal2json decoderbufs test_decoding);
skip_all_without(@libraries > 1, 'no plugin but pgoutput is there');
SKIP: for (grep { !there($_) } qw(wal2json decoderbufs test_decoding)) { skip_without(0, "plugin $_ is not there") }
my @dresses = grep { there('wal2json') } qw(wal2json wal2json_rds wal2json_streaming wal2json_rds_streaming);
my @others = (@dresses, grep { !/pgoutput|wal2json/ } @libraries);
my %library = map { $_ => /^wal2json/ ? 'wal2json' : $_ } @others, 'pgoutput';
my $any = $libraries[1];    # of those for which one is enough

sub run_in ($db, $slot, @more) { return Cdc->run(server => $pg, db => $db, args => [-S => $slot, '-m' => 'never', '-E' => 'now', '--transport' => 'stream', @more]) }
sub run ($slot, @more) { return run_in('shop', $slot, @more) }
sub state_of ($slot) { return ('--state', "$dir/$slot.json") }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }
sub make_slot ($slot, $library) { $pg->sql('shop', "SELECT pg_create_logical_replication_slot('$slot', '$library')") }
sub drop (@slots) {
    $pg->sql('shop', join ';', map { "SELECT pg_drop_replication_slot('$_')" } @slots);
    unlink map { "$dir/$_.json" } @slots;
}

my $id = 0;
sub insert () { $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$id . ", 'x')") }

# START_REPLICATION commands that the server has had since, as [options by name].
sub started ($mark) {
    return map { +{ /"([^"]+)" '([^']*)'/g } } substr($pg->log_text, $mark) =~ /received replication command: START_REPLICATION SLOT \S+ LOGICAL \S+(.*)$/mg;
}

# Refused, with just these words (a regular expression for all of stderr), and nothing has come of it.
sub refused ($name, $words, $slot, @more) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = $pg->slot($slot);
    my $r = run($slot, @more);
    $r->exited(2, "$name: status 2");
    like($r->err, qr/\A$words\z/, "$name: says so");
    is($r->out, '', "$name: gives nothing");
    my $after = $pg->slot($slot);
    is($after && $after->{confirmed_flush_lsn}, $before && $before->{confirmed_flush_lsn}, "$name: the slot is as it was");
    is($pg->sql('shop', "SELECT count(*) FROM pg_publication WHERE pubname = 'cdcdump_$slot'"), 0, "$name: and no publication was made") unless $before && $before->{plugin} eq 'pgoutput';
    return $r;
}

# ---- without -P ----

for my $library (@libraries) {
    my $slot = "own_$library";
    make_slot($slot, $library);
    $pg->sql('shop', "CREATE PUBLICATION cdcdump_$slot FOR TABLE t") if $library eq 'pgoutput';
    my $mark = $pg->log_mark;
    insert();
    my $r = run($slot, state_of($slot));
    $r->exited(0, "$library, -P left out: the slot's plugin is taken");
    is(gist($r), "c$id", "$library, -P left out: reads it");
    is($r->err, '', "$library, -P left out: without a word");
    is(saved($slot)->{plugin}, $library, "$library, -P left out: on record");
    is(saved($slot)->{publication}, $library eq 'pgoutput' ? "cdcdump_$slot" : '', "$library, -P left out: with its publication, or none");
    insert();
    $r = run($slot, state_of($slot), '-v');
    is(gist($r), "c$id", "$library, -P left out: goes on");
    like($r->err, qr/\b$library\b/, "$library, -P left out: -v tells which");
    insert();
    is(gist(run($slot, state_of($slot), -P => $library)), "c$id", "$library: as with -P");
    my ($options) = reverse started($mark);
    is($options->{'format-version'}, $library eq 'wal2json' ? 2 : undef, "$library, -P left out: the plainest dress") if $library eq 'wal2json';
    is($pg->sql('shop', "SELECT count(*) FROM pg_publication WHERE pubname = 'cdcdump_$slot'"), 0, "$library: no publication is made") if $library ne 'pgoutput';
}
run('fresh', '-t' => 't')->exited(0, 'a new slot without -P');
is($pg->slot('fresh')->{plugin}, 'pgoutput', 'is one of pgoutput');
drop('fresh');
$pg->sql('shop', 'DROP PUBLICATION cdcdump_fresh');
for my $plugin (@others) {
    my $r = run('fresh', -P => $plugin);
    $r->exited(0, "$plugin: a new slot");
    is($pg->slot('fresh')->{plugin}, $library{$plugin}, "$plugin: is one of its library");
    like($r->err, qr{\Acdcdump: created replication slot "fresh" at \S+\n\z}, "$plugin: which is all that is said");
    insert();
    $r = run('fresh', -P => $plugin, '-e', 'plain');
    is($r->err, '', "$plugin: then nothing more");
    like($r->out, qr/\A\{"op":"c",.*"schema":"public","table":"t","key":\{"id":$id\},"row":\{"id":$id,"v":"x"\},"old":null\}\n\z/, "$plugin: reads it");
    drop('fresh');
}

# ---- another plugin than the slot's ----

for my $library (@libraries) {
    for my $plugin (grep { $library{$_} ne $library } 'pgoutput', @others) {
        refused("-P $plugin, a slot of $library", qr/cdcdump: error: replication slot "own_$library" was created for plugin "$library", not for "$library{$plugin}"\n/
            . qr/HINT:  A slot keeps its plugin for life: choose another slot, or use -P $library\.\n/, "own_$library", -P => $plugin);
    }
}

# A state file of another plugin, beside a slot that has been made anew.
for my $plugin (@others, 'pgoutput') {
    my ($there) = grep { $_ ne $library{$plugin} } reverse @libraries;
    run('anew', -P => $plugin, state_of('anew'))->exited(0, "$plugin: a state file");
    my $state = slurp("$dir/anew.json");
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('anew'); DROP PUBLICATION IF EXISTS cdcdump_anew));
    make_slot('anew', $there);
    my $name = "$plugin, the slot is now of $there";
    refused("$name, -P $there", qr/cdcdump: error: state file "\Q$dir\E\/anew\.json" belongs to another plugin: "$library{$plugin}", not "$there"\n/
        . qr/HINT:  Use the state file that belongs to this capture, or another one to begin anew\.\n/, 'anew', state_of('anew'), -P => $there);
    my $r = refused("$name, -P left out", qr/cdcdump: error: .*(?:"$library{$plugin}".*"$there"|"$there".*"$library{$plugin}").*\n(?:(?:DETAIL|HINT):  .*\n)*/, 'anew', state_of('anew'));
    like($r->err, qr/state file/, "$name, -P left out: says where the other one stands");
    unlike($r->err, qr/use -P/, "$name, -P left out: and not to use -P, which would be refused");
    is(slurp("$dir/anew.json"), $state, "$plugin, the slot is now of $there: the state file is left alone");
    drop('anew');
}

# ---- a plugin that cannot be read, and one that is not there ----

my $pkglibdir = $pg->sql('postgres', q(SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'));
my $path = $pg->sql('postgres', 'SHOW dynamic_library_path');
my $limits = $pg->sql('postgres', q(SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'));
sub set (%settings) {
    for my $name (sort keys %settings) {
        my $value = $settings{$name};
        $pg->sql('postgres', defined $value ? "ALTER SYSTEM SET $name = $value" : "ALTER SYSTEM RESET $name");
    }
    reload();
}
# pg_reload_conf(), which some statements of cdcdump's call, and a signal only ask for it.
sub reload () {
    my $before = $pg->sql('postgres', 'SELECT pg_conf_load_time()');
    $pg->reload;
    wait_until(sub { $pg->sql('postgres', 'SELECT pg_conf_load_time()') ne $before }, 20, 'the settings');
}

copy("$pkglibdir/test_decoding.so", "$libraries/mystery.so") or die "test_decoding.so: $!";
chmod 0755, "$libraries/mystery.so";
set(dynamic_library_path => "'$libraries:\$libdir'", $limits ? (output_plugin_libraries => 'pgoutput, test_decoding, wal2json, decoderbufs, mystery') : ());
make_slot('mystery', 'mystery');
for my $plugin (undef, @libraries) {
    refused('a slot of an unknown plugin, -P ' . ($plugin // 'left out'), qr/cdcdump: error: replication slot "mystery" was created for plugin "mystery"/
        . (defined $plugin ? qr/, not for "$plugin"/ : qr/.*/) . qr/\nHINT:  That plugin cannot be read: choose another slot\.\n/, 'mystery', defined $plugin ? (-P => $plugin) : ());
}
drop('mystery');

set(dynamic_library_path => "'$dir/nowhere'");
for my $plugin (grep { $_ ne 'pgoutput' } @libraries) {
    refused("$plugin, no library: a new slot", qr/cdcdump: error: could not create the replication slot: could not access file "$plugin": No such file or directory\n(?:(?:DETAIL|HINT):  .*\n)*/,
        'fresh', -P => $plugin);
    my $r = refused("$plugin, no library: a slot that is there", qr/cdcdump: error: could not start streaming: could not access file "$plugin": No such file or directory\n(?:(?:DETAIL|HINT):  .*\n)*/,
        "own_$plugin");
    unlike($r->err, qr/position lost|begin anew/, "$plugin, no library: nothing is lost");
}
set(dynamic_library_path => undef, $limits ? (output_plugin_libraries => undef) : ());
insert();
like(gist(run("own_$any", state_of("own_$any"))), qr/\bc(?:\d+\.\.)?$id\z/, 'a library that is back: goes on');

# ---- a server that does not allow it ----

SKIP: {
    skip_without($limits, 'this server does not know output_plugin_libraries', 20);
    my $forbidden = sub ($library, $doing, @allowed) {
        my $list = join ', ', @allowed, $library;
        return qr/cdcdump: error: could not $doing: library "$library" may not be used as an output plugin\n(?:DETAIL:  .*\n)*/
            . qr/HINT:  If it is safe for all REPLICATION users to use this library as an output plugin, add it to "output_plugin_libraries" and reload the server configuration\.\n/
            . qr/HINT:  A superuser can allow it: ALTER SYSTEM SET output_plugin_libraries = \Q$list\E; SELECT pg_reload_conf\(\);\n/;
    };
    my $obey = sub ($r) {
        my ($sql) = $r->err =~ /^HINT:  .*?: (ALTER SYSTEM .*)$/m or return fail('a setting to be made');
        $pg->sql('postgres', $sql);
        reload();
    };
    for my $library (grep { $_ ne 'pgoutput' } @libraries) {
        my @allowed = $library eq 'test_decoding' ? ('pgoutput', '"Odd-Lib"', 'wal2json') : qw(pgoutput test_decoding);
        set(output_plugin_libraries => join ', ', @allowed);
        insert();
        my $r = refused("$library not allowed: a slot that is there", $forbidden->($library, 'start streaming', @allowed), "own_$library", state_of("own_$library"));
        unlike($r->err, qr/position lost/, "$library not allowed: nothing is lost");
        $obey->($r);
        is($pg->sql('postgres', 'SHOW output_plugin_libraries'), join(', ', @allowed, $library), "$library: the setting that was told of");
        my $last = gist(run("own_$library", state_of("own_$library")));
        like($last, qr/\bc(?:\d+\.\.)?$id\z/, "$library allowed: goes on");

        set(output_plugin_libraries => join ', ', @allowed);
        $r = refused("$library not allowed: a new slot", $forbidden->($library, 'create the replication slot', @allowed), 'fresh', -P => $library);
        $obey->($r);
        run('fresh', -P => $library)->exited(0, "$library allowed: a new slot");
        drop('fresh');
    }
    # As a role that may not see everything, and with nothing allowed at all.
    $pg->sql('postgres', 'CREATE ROLE reader LOGIN REPLICATION');
    $pg->sql('shop', 'GRANT SELECT ON t TO reader');
    set(output_plugin_libraries => q(''));
    my $r = Cdc->run(args => [-d => $pg->connstr('shop', user => 'reader'), -S => "own_$any", '-m' => 'never', '-E' => 'now']);
    $r->exited(2, 'nothing allowed, as another role: status 2');
    like($r->err, qr/^cdcdump: error: could not start streaming: library "$any" may not be used as an output plugin$/m, 'nothing allowed, as another role: the words of the server');
    like($r->err, qr/^HINT:  .*ALTER SYSTEM SET output_plugin_libraries/m, 'nothing allowed, as another role: what to do');
    unlike($r->err, qr/could not look up/, 'nothing allowed, as another role: no other error, though it may not see the setting');
    $r = run("own_$any");
    like($r->err, qr/^HINT:  A superuser can allow it: ALTER SYSTEM SET output_plugin_libraries = $any; SELECT pg_reload_conf\(\);$/m, 'nothing allowed: what to set');
    $obey->($r);
    $r = Cdc->run(args => [-d => $pg->connstr('shop', user => 'reader'), -S => "own_$any", '-m' => 'never', '-E' => 'now']);
    $r->exited(0, 'allowed, as another role');
    set(output_plugin_libraries => undef);
}

# ---- options ----

my %reserved = (
    wal2json => [qw(format-version write-in-chunks include-xids include-timestamp include-lsn include-schemas include-types include-type-oids include-typmod
        include-not-null include-transaction include-domain-data-type numeric-data-types-as-string include-unchanged-toast include-default)],
    decoderbufs => ['debug-mode'],
    test_decoding => [qw(include-xids include-timestamp skip-empty-xacts include-rewrites force-binary stream-changes)],
);
for my $library (grep { $reserved{$_} } @libraries) {
    for my $option (@{ $reserved{$library} }) {
        refused("$library, -o $option", qr/cdcdump: error: plugin option "$option" is set by cdcdump itself\n(?:(?:DETAIL|HINT):  .*\n)*/, 'fresh', -P => $library, -o => "$option=1");
    }
    my ($option) = @{ $reserved{$library} };
    refused("$library, -o $option, -P left out", qr/cdcdump: error: plugin option "$option" is set by cdcdump itself\n(?:(?:DETAIL|HINT):  .*\n)*/, "own_$library", -o => $option);
    for my $unknown ('nonsense=1', 'binary=true', q(it's "odd"=1)) {
        my ($name, $value) = split /=/, $unknown;
        my $words = qr/cdcdump: error: could not start streaming: option "\Q$name\E" = "$value" is unknown\n(?:(?:DETAIL|HINT):  .*\n)*/;
        refused("$library, -o $unknown, a slot that is there", $words, "own_$library", -o => $unknown);
        refused("$library, -o $unknown, a new slot", qr/(?:cdcdump: created replication slot "fresh" at \S+\n)?$words(?:cdcdump: dropped replication slot "fresh"\n)?/, 'fresh', -P => $library, -o => $unknown)
            if $name eq 'nonsense';
        drop('fresh') if $pg->slot('fresh');
    }
}
if (there('wal2json')) {
    refused('wal2json_rds_streaming, an unknown option', qr/cdcdump: error: could not start streaming: option "nonsense" = "1" is unknown\n(?:(?:DETAIL|HINT):  .*\n)*/, 'own_wal2json',
        -P => 'wal2json_rds_streaming', -o => 'nonsense=1');
    refused('wal2json, a value that it cannot read', qr/cdcdump: error: could not start streaming: could not parse value "maybe" for parameter "include-origin"\n(?:(?:DETAIL|HINT):  .*\n)*/, 'own_wal2json',
        -o => 'include-origin=maybe');
}
refused('pgoutput, an unknown option, -P left out', qr/cdcdump: error: unrecognized plugin option "nonsense"\nHINT:  .*\n/, 'own_pgoutput', -o => 'nonsense');

# Those that the user may set change nothing in the records, but for what they filter.
$pg->sql('shop', q(CREATE TABLE u (id int PRIMARY KEY, v varchar(9) NOT NULL DEFAULT 'd')));
for my $plugin (@others) {
    my @harmless = $library{$plugin} eq 'wal2json' ? qw(include-pk=1 include-column-positions=1 include-origin=1 pretty-print=1)
        : $plugin eq 'test_decoding' ? qw(only-local=1) : ();
    my @filtering = $library{$plugin} eq 'wal2json' ? (['add-tables=public.u', 'u'], ['filter-tables=*.u', 't'], ['actions=insert,delete', 't u', 'u']) : ();
    my @runs = (['plain', 't u', ''], (@harmless ? ['harmless', 't u', '', map { ('-o', $_) } @harmless] : ()), map { [$_->[0], $_->[1], $_->[2] // '', '-o', $_->[0]] } @filtering);
    make_slot("o$_", $library{$plugin}) for 0 .. $#runs;
    $pg->sql('shop', q(BEGIN; INSERT INTO u VALUES (1, 'a "b"'), (2, E'c\n\td'); UPDATE u SET id = 3 WHERE id = 1; UPDATE t SET v = 'y' WHERE id = 1; DELETE FROM u; INSERT INTO t VALUES (0, NULL); DELETE FROM t WHERE id = 0; COMMIT));
    my @want;
    for my $n (0 .. $#runs) {
        my ($name, $tables, $without, @options) = @{ $runs[$n] };
        my $r = run("o$n", -P => $plugin, '-e' => 'plain', @options);
        my @lines = map { s/"seq":\d+,//r } $r->lines;
        @want = @lines unless $n;
        is(scalar(@want), 8, "$plugin: the changes") unless $n;
        my %tables = map { $_ => 1 } split ' ', $tables;
        my @expected = grep { /"table":"(\w+)"/ && $tables{$1} && !(/"op":"(\w)"/ && index($without, $1) >= 0) } @want;
        is(join("\n", @lines), join("\n", @expected), "$plugin, options $name") or diag($r->err);
        drop("o$n");
    }
}

# What is sent, and taken back when the plugin does not know it.
my %sent = (
    wal2json => {qw(format-version 2 include-xids 1 include-timestamp 1 include-lsn 1 include-type-oids 1)},
    wal2json_streaming => {qw(write-in-chunks 1 include-xids 1 include-timestamp 1 include-lsn 1 include-type-oids 1)},
    decoderbufs => {},
    test_decoding => {qw(include-xids 1 include-timestamp 1)},
);
$sent{wal2json_rds} = $sent{wal2json};
$sent{wal2json_rds_streaming} = $sent{wal2json_streaming};
my ($exact, $metadata) = qw(numeric-data-types-as-string include-not-null);
my $knows_exact = there('wal2json') && do {
    make_slot('probe', 'wal2json');
    my ($failed, undef, $err) = $pg->try_sql('shop', "SELECT * FROM pg_logical_slot_peek_changes('probe', NULL, 1, '$exact', '1')");
    drop('probe');
    $failed && $err =~ /"$exact" = "1" is unknown/ ? 0 : 1;
};
note 'this wal2json ' . ($knows_exact ? 'knows' : 'does not know') . " $exact";
for my $plugin (@others) {
    my $slot = "own_$library{$plugin}";
    my @tries = $library{$plugin} ne 'wal2json' ? ({}) : $knows_exact ? ({ $exact => 1 }) : ({ $exact => 1 }, $plugin =~ /rds/ ? {} : { $metadata => 1 });
    for my $verbose (0, 1) {
        my $mark = $pg->log_mark;
        insert();
        # One of the user's own goes with every try.
        my @mine = $library{$plugin} eq 'wal2json' ? ('add-tables' => 'public.t') : ();
        my $r = run($slot, -P => $plugin, @mine ? (-o => join '=', @mine) : (), $verbose ? '-v' : ());
        like(gist($r), qr/c(\d+\.\.)?$id\z/, "$plugin: streams");
        is_deeply([started($mark)], [map { +{ %{ $sent{$plugin} }, %$_, @mine } } @tries], "$plugin: what is sent, one try after the other");
        my @said = $r->err =~ /^cdcdump: (plugin .*)$/mg;
        is(join("\n", @said), $verbose && @tries > 1 ? qq(plugin "wal2json" does not know option "$exact": trying again without it) : '',
            "$plugin: " . ($verbose ? '-v tells of it' : 'not a word of it'));
        is($r->err, '', "$plugin: nor of anything else") unless $verbose;
    }
}

# ---- slots that do not stay ----

# The server drops a temporary slot as soon as a command fails, as one does that tries an option.
for my $plugin (@others) {
    my $c = Cdc->start(server => $pg, db => 'shop', args => [-S => 'temporary', -P => $plugin, '--temporary-slot', '-m' => 'initial', '-v']);
    my @lines = eval { $c->wait_stderr(qr/streaming from/); insert(); $c->read_until(qr/"id":$id,.*"op":"c"/) } or diag($@);
    like($lines[-1] // '', qr/"op":"c"/, "$plugin, --temporary-slot: streams");
    cmp_ok(scalar(grep { /"op":"r"/ } @lines), '>', 10, "$plugin, --temporary-slot: behind the rows");
    $c->stop->exited(0, "$plugin, --temporary-slot: stopped");
    is($pg->slot('temporary'), undef, "$plugin, --temporary-slot: it is gone");
    run('dropped', -P => $plugin, '--drop-slot-on-stop')->exited(0, "$plugin, --drop-slot-on-stop");
    is($pg->slot('dropped'), undef, "$plugin, --drop-slot-on-stop: it is gone");
}

# ---- what has no meaning with a plugin ----

my $publications = qr/DETAIL:  Publications are pgoutput's: other plugins send the changes of all tables\.\n/;
for my $plugin (@others) {
    # Of an option that is given the command line can tell; of a slot's plugin only the server.
    for my $given (1, 0) {
        next if !$given && $plugin =~ /_/ && $plugin ne 'test_decoding';
        my ($slot, @plugin) = $given ? ('fresh', -P => $plugin) : ("own_$plugin");
        my $name = "$plugin, -P " . ($given ? 'given' : 'left out');
        my $hint = $given ? qr/HINT:  Try "cdcdump --help" for more information\.\n/ : qr//;
        my $clash = sub ($option, $detail, @more) {
            refused("$name, $option", qr/cdcdump: error: $option and plugin "$plugin" cannot be used together\n$detail$hint/, $slot, @plugin, @more);
        };
        $clash->('--publication', $publications, '--publication' => 'p');
        $clash->('--publication-mode', $publications, '--publication-mode' => 'all-tables');
        $clash->('--two-phase', qr/DETAIL:  .*\n/, '--two-phase', '--transactions') if $plugin ne 'test_decoding' && $major >= 15;
        $clash->('--messages', qr/DETAIL:  Plugin decoderbufs does not send logical messages\.\n/, '--messages') if $plugin eq 'decoderbufs';
    }
}
$pg->sql('shop', q(BEGIN; SELECT pg_logical_emit_message(true, 'p', 'x'); COMMIT));
for my $slot (map { "own_$_" } grep { /wal2json|test_decoding/ } @libraries) {
    my $r = run($slot, '--messages');
    $r->exited(0, "$slot: --messages");
    is(scalar(grep { $_->{op} eq 'm' } $r->records), 1, "$slot: gives it");
}
drop(map { "own_$_" } @libraries);
$pg->sql('shop', 'DROP PUBLICATION cdcdump_own_pgoutput');

# ---- tables without an identity ----

$pg->create_db('bare');
$pg->sql('bare', q(CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE bare (id int, v text); CREATE TABLE "Odd one" (id int); CREATE TABLE full_one (id int);
    ALTER TABLE full_one REPLICA IDENTITY FULL; CREATE TABLE hidden (id int PRIMARY KEY); ALTER TABLE hidden REPLICA IDENTITY NOTHING));
my %loss = ((map { $_ => [qr/updates and deletes/, qr/leaves/] } @dresses), decoderbufs => [qr/leaves updates of it out/, qr/deletes of it do not tell which row is gone/],
    test_decoding => [qr/\A[^,]*deletes of it do not tell which row is gone\z/]);
for my $plugin (@others) {
    my $slot = "bare_$plugin";
    my $r = run_in('bare', $slot, -P => $plugin, state_of($slot));
    $r->exited(0, "$plugin, tables without an identity: a warning only");
    my %said = $r->err =~ /^cdcdump: warning: table (public\.\S+|public\."Odd one") has no replica identity: (.*)$/mg;
    is(join(' ', sort keys %said), 'public."Odd one" public.bare public.hidden', "$plugin, tables without an identity: each is named");
    for my $words (@{ $loss{$plugin} }) {
        like($_, $words, "$plugin, tables without an identity: what is lost with it") for values %said;
    }
    like($r->err, qr/^HINT:  Add a primary key, use --replica-identity=full, or leave the table out with -T\.$/m, "$plugin, tables without an identity: what to do");
}
$pg->sql('bare', q(INSERT INTO bare VALUES (1, 'a'), (2, 'b'), (3, 'c'); UPDATE bare SET v = v || 'x'; BEGIN; UPDATE bare SET v = v || 'y' WHERE id < 3; UPDATE bare SET v = 'z' WHERE id = 3; COMMIT;
    DELETE FROM bare WHERE id < 3; UPDATE full_one SET id = 2; INSERT INTO t VALUES (1); DELETE FROM t; DELETE FROM bare));
my %kept = (
    wal2json => 'c:1 c:2 c:3 c:1 d:1', decoderbufs => 'c:1 c:2 c:3 d:- d:- c:1 d:1 d:-',
    test_decoding => 'c:1 c:2 c:3 u:1 u:2 u:3 u:1 u:2 u:3 d:- d:- c:1 d:1 d:-',
);
my %server_says = (
    (map { $_ => [map { qq(no tuple identifier for $_ in table "public"."bare") } qw(UPDATE DELETE)] } qw(wal2json wal2json_rds)),
    (map { $_ => [q(table "bare" without primary key or replica identity is nothing)] } qw(wal2json_streaming wal2json_rds_streaming)),
);
for my $plugin (@others) {
    my $slot = "bare_$plugin";
    my @copies = map { "${slot}_$_" } qw(left_out verbose);
    $pg->sql('bare', "SELECT pg_copy_logical_replication_slot('$slot', '$_')") for @copies;
    my $r = run_in('bare', $slot, -P => $plugin, state_of($slot));
    $r->exited(0, "$plugin, changes of a table without an identity");
    is(join(' ', map { "$_->{op}:" . (($_->{after} // $_->{before} // {})->{id} // '-') } $r->records), $kept{ $library{$plugin} }, "$plugin, without an identity: what is left of them");
    if (my $says = $server_says{$plugin}) {
        is($r->err, join('', map { "cdcdump: warning: the server warns: $_\n" } @$says), "$plugin, without an identity: what the server says, once");
    } elsif ($plugin eq 'decoderbufs') {
        like($r->err, qr/\Acdcdump: warning: decoderbufs has not sent an update of table "public\.bare"\n(?:(?:DETAIL|HINT):  .*\n)*\z/, 'decoderbufs, without an identity: what is missing, once');
    } else {
        is($r->err, '', "$plugin, without an identity: nothing is missing");
    }
    $r = run_in('bare', $copies[0], -P => $plugin, -T => 'bare|hidden|Odd one');
    is($r->err, '', "$plugin, without an identity, and left out: not a word");
    is(join(' ', map { "$_->{op}:" . ($_->{after} // $_->{before})->{id} } $r->records), 'c:1 d:1', "$plugin, without an identity, and left out: the others");
    drop($slot, @copies);
}
for my $plugin (@others) {
    my $r = run_in('bare', 'identified', -P => $plugin, -t => 'bare', '--replica-identity' => 'full');
    is(join('', $r->err =~ /^cdcdump: (?!created).*\n/mg), $plugin eq $others[0] ? "cdcdump: ALTER TABLE public.bare REPLICA IDENTITY FULL\n" : '', "$plugin, --replica-identity=full: no warning");
    $pg->sql('bare', q(INSERT INTO bare VALUES (1, 'a'); UPDATE bare SET v = 'b'; DELETE FROM bare));
    $r = run_in('bare', 'identified', -P => $plugin, -t => 'bare');
    is(join(' ', map { "$_->{op}:" . join ',', map { $_ ? "$_->{id}$_->{v}" : '-' } @$_{qw(before after)} } $r->records), 'c:-,1a u:1a,1b d:1b,-', "$plugin, --replica-identity=full: all of it");
    is($r->err, '', "$plugin, --replica-identity=full: no warning later on");
    drop('identified');
}

# ---- what the plugins say besides ----

# decoderbufs greets with an INFO at each start, which is shown with -v only.
if (there('decoderbufs')) {
    make_slot('greeting', 'decoderbufs');
    my $r = run('greeting');
    is($r->err, '', 'decoderbufs: its greeting is not for the terminal');
    $r = run('greeting', '-v');
    like($r->err, qr/^cdcdump: server: .*Exiting startup callback$/m, 'decoderbufs: -v shows it');
    unlike($r->err, qr/^(?!cdcdump: |HINT:  |DETAIL:  )/m, 'decoderbufs: in no other way than ours');
    drop('greeting');
    $r = run('greeting', -P => 'decoderbufs');
    unlike($r->err, qr/INFO|startup callback/, 'decoderbufs: nor when the slot is created');
    drop('greeting');
}

# ---- settings of the database do not bend what the plugins send ----

$pg->create_db('odd');
$pg->sql('odd', q(CREATE TABLE v (id int PRIMARY KEY, b bytea, d date, ts timestamp, tz timestamptz, i interval, f float8, g float4, n numeric, x xml, m money);
    ALTER DATABASE odd SET bytea_output = 'escape'; ALTER DATABASE odd SET DateStyle = 'SQL, DMY'; ALTER DATABASE odd SET IntervalStyle = 'sql_standard';
    ALTER DATABASE odd SET TimeZone = 'Asia/Kolkata'; ALTER DATABASE odd SET extra_float_digits = -4; ALTER DATABASE odd SET search_path = '';
    ALTER DATABASE odd SET quote_all_identifiers = on; ALTER DATABASE odd SET xmloption = 'document'; ALTER DATABASE odd SET client_min_messages = 'debug1'));
my @all = ('pgoutput', @others);
run_in('odd', "odd_$_", -P => $_)->exited(0, "$_: a database with settings of its own") for @all;
$pg->sql('odd', q(INSERT INTO public.v VALUES (1, '\x00ff5c27'::bytea, '2024-03-04', '2024-03-04 05:06:07.000089', '2024-03-04 05:06:07.5+00', '1 year -2 days 03:04:05.6', 0.1::float8 / 3, 0.1::float4 / 3,
    1234567890.0123456789, '<a/>', 12.5)));
my $want;
for my $plugin (@all) {
    my $r = run_in('odd', "odd_$plugin");
    my ($row) = map { canonical($_->{after}) } $r->records;
    $want //= $row;
    like($row, qr/AP9cJw==/, "$plugin: bytes of a database with settings of its own");
    is($row, $want, "$plugin: and all other values as with pgoutput");
    is($r->err, '', "$plugin: nothing is said of it");
    $pg->sql('odd', "SELECT pg_drop_replication_slot('odd_$plugin')");
}

done_testing;
