# --check: connection, server, role, plugin and output; and that a capture does what it has said.
use v5.36;
use CdcTest;
use CdcTest::Check;
use POSIX ();

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE products (product_id int PRIMARY KEY, name text)');
my $dir = scratch();
my $check = CdcTest::Check->new(server => $pg, db => 'shop', dir => $dir);
my $version = $pg->version;

sub one_error ($c, $regex, $name) {
    my @errors = grep { /^error: / } $c->lines;
    is(scalar @errors, 1, "$name: one error");
    like($errors[0] // '', $regex, "$name: says what it is");
}

# ---- all is well ----

my $c = $check->predicts(0, 'all is well', qw(-S well -m never));
my ($database, $server, @rest) = $c->lines;
like($database, qr/^ok: connected to database "shop" as "postgres" at \S+, port \d+$/, 'the connection');
like($server, qr/^ok: PostgreSQL $version\S*.*, a primary$/, 'the server');
is(join("\n", @rest), join("\n",
    'ok: wal_level is "logical"',
    'ok: 0 of 20 replication slots are in use',
    'ok: 0 of 20 walsenders are in use',
    'ok: 0 of 97 connections are in use',
    'ok: role "postgres" may read changes: it is a superuser',
    'ok: plugin "pgoutput" is installed on the server',
    'ok: publication "cdcdump_well" would be created: CREATE PUBLICATION cdcdump_well FOR TABLE ONLY public.products'
        . ($version >= 13 ? ' WITH (publish_via_partition_root = true)' : ''),
    'ok: 1 table is captured',
    'ok: table public.products: replica identity default (primary key product_id); updates carry the old key',
    'ok: replication slot "well" would be created',
    'ok: output goes to standard output, which is not looked at'), 'all findings, in their order');
$c = $check->predicts(0, 'once more', qw(-S well -m never));
like($c->line('ok', qr/publication/), qr/^ok: publication "cdcdump_well" is there$/, 'once more: the publication is there');
like($c->line('ok', qr/slot "well"/), qr/^ok: replication slot "well" of plugin "pgoutput" can be read: it is at \S+, .* behind$/, 'once more: so is the slot');

# ---- the connection ----

# Without a connection the state file and the output are looked at all the same.
my @files = ('--state' => "$dir/s.json", -f => "$dir/s.out");
$c = $check->predicts(3, 'a server that is away', { port => PgServer::free_port() }, qw(-S s -m never), @files);
one_error($c, qr/^error: could not connect: connection to server .* failed: .*; remedy: start the server, or name its host and port with -h and -p$/, 'a server that is away');
is_deeply([($c->lines)[1, 2]], [qq(ok: state file "$dir/s.json" is not there yet: this is the first run),
    qq(ok: output file "$dir/s.out" would be created)], 'a server that is away: what needs no server is looked at');
$c = $check->predicts(2, 'a database that is missing', { db => 'nothing' }, qw(-S s -m never));
one_error($c, qr/^error: could not connect: .*FATAL: +database "nothing" does not exist; remedy: Name a database that is there with -d; psql -l lists them$/,
    'a database that is missing');

$pg->sql('postgres', "SET password_encryption = 'scram-sha-256'; CREATE ROLE secret LOGIN REPLICATION PASSWORD 'right'; CREATE ROLE nohba LOGIN REPLICATION; CREATE ROLE app LOGIN");
my $hba = $pg->data_dir . '/pg_hba.conf';
spew($hba, "local all postgres,app trust\nlocal all secret scram-sha-256\nhost all postgres 127.0.0.1/32 trust\nlocal replication all trust\n");
$pg->reload;
wait_until(sub { ($pg->try_sql('shop', 'SELECT pg_sleep(0)'))[0] == 0 && system("PGHOST=" . $pg->sockdir . " " . PgServer::bindir()
    . "/psql -p " . $pg->port . " -U nohba -d shop -c '' >/dev/null 2>&1") != 0 }, 10, 'the new pg_hba.conf');
$c = $check->predicts(2, 'pg_hba.conf', { user => 'nohba' }, qw(-S s -m never));
one_error($c, qr/^error: could not connect: .*no pg_hba\.conf entry for host "\[local\]", user "nohba", database "shop".*; remedy: .*a logical walsender needs a line for the database itself/,
    'pg_hba.conf');
my $password = qr/; remedy: Give the role's password in PGPASSWORD, in the password file, or with -W$/;
$c = $check->predicts(2, 'a wrong password', { user => 'secret', env => { PGPASSWORD => 'wrong' } }, qw(-S s -m never));
one_error($c, qr/^error: could not connect: .*password authentication failed for user "secret"$password/, 'a wrong password');
$c = $check->predicts(2, 'no password', { user => 'secret' }, qw(-S s -m never -w));
one_error($c, qr/^error: could not connect: .*no password supplied$password/, 'no password');
$c = $check->predicts(0, 'the right one', { user => 'secret', env => { PGPASSWORD => 'right' } }, qw(-S right -m never --publication-mode existing --publication cdcdump_well));
is($c->line('ok', qr/role/), 'ok: role "secret" may read changes: it has the REPLICATION attribute', 'the right one: the role may');

# What only --check asks does not end a capture: what is hidden is said, the rest is looked at.
$pg->sql('shop', 'REVOKE SELECT ON pg_stat_replication, pg_prepared_xacts FROM PUBLIC');
$c = $check->predicts(0, 'what is in use is hidden', { user => 'secret', env => { PGPASSWORD => 'right' } }, qw(-S hidden -m never --publication-mode existing --publication cdcdump_well));
is($c->line('warning', qr/in use/), 'warning: could not look up what is in use: permission denied for view pg_stat_replication', 'what is in use is hidden: said so');
is($c->line('ok', qr/wal_level/), 'ok: wal_level is "logical"', 'what is in use is hidden: the settings are not');
$pg->sql('shop', 'GRANT SELECT ON pg_stat_replication, pg_prepared_xacts TO PUBLIC');

$pg->sql('postgres', 'ALTER ROLE app CONNECTION LIMIT 0');
$c = $check->predicts(3, 'no connection left', { user => 'app' }, qw(-S s -m never));
one_error($c, qr/^error: could not connect: .*too many connections for role "app"; remedy: /, 'no connection left');
$pg->sql('postgres', 'ALTER ROLE app CONNECTION LIMIT -1');

# ---- a role that may do nothing: one remedy after the other ----

my @steps;
for my $n (1 .. 6) {
    $c = $check->looks($n < 4 ? 2 : 0, "a plain role, $n", { user => 'app' }, qw(-S chain -m initial));
    my ($error) = grep { /^error: / } $c->lines or last;
    my ($remedy) = $error =~ /; remedy: (.*;)$/ or last;
    push @steps, $remedy;
    $pg->sql('shop', $remedy);
}
is_deeply(\@steps, ['ALTER ROLE app REPLICATION;',
    'CREATE PUBLICATION cdcdump_chain FOR TABLE ONLY public.products' . ($version >= 13 ? ' WITH (publish_via_partition_root = true);' : ';'),
    'GRANT USAGE ON SCHEMA public TO app; GRANT SELECT ON public.products TO app;'], 'a plain role: what it takes, copied from the findings');
$check->predicts(0, 'a plain role that was given it all', { user => 'app' }, qw(-S chain -m initial));

# ---- the server's settings ----

$c = $check->predicts(2, 'an option that the version lacks', qw(-S s -m never --failover)) if $version < 17;
one_error($c, qr/^error: --failover needs PostgreSQL 17 or later \(the server's version is \S+\)$/, 'an option that the version lacks') if $version < 17;
SKIP: {
    skip_without($pg->sql('postgres', "SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'"), 'the server has no output_plugin_libraries', 8);
    $pg->sql('postgres', 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, decoderbufs');
    $pg->reload;
    $c = $check->predicts(2, 'a plugin that is not allowed', qw(-S s -m never -P test_decoding));
    one_error($c, qr/^error: the server does not allow the library "test_decoding" as an output plugin \(output_plugin_libraries\); remedy: /, 'a plugin that is not allowed');
    is($c->remedy(qr/does not allow/), 'ALTER SYSTEM SET output_plugin_libraries = pgoutput, decoderbufs, test_decoding; SELECT pg_reload_conf();', 'a plugin that is not allowed: how to allow it');
    $pg->sql('postgres', $c->remedy(qr/does not allow/));
    wait_until(sub { $pg->sql('postgres', 'SHOW output_plugin_libraries') =~ /test_decoding/ }, 10, 'the setting');
}
$c = $check->predicts(0, 'another plugin', qw(-S testing -m never -P test_decoding));
is($c->line('ok', qr/plugin "test/), 'ok: plugin "test_decoding" is installed on the server', 'another plugin is installed');
is($c->line('ok', qr/publication/), '', 'another plugin has no publication');
like($check->looks(0, 'a plugin in use', { user => 'app' }, qw(-S testing2 -m never -P test_decoding))->line('ok', qr/plugin/), qr/is in use on the server$/, 'a plugin that another slot has');
$pg->sql('shop', q(SELECT pg_drop_replication_slot('testing')));
like($check->looks(0, 'as far as the role can see', { user => 'app' }, qw(-S testing -m never -P test_decoding))->line('warning', qr/plugin/),
    qr/^warning: whether the server has the library of plugin "test_decoding" cannot be seen by this role$/, 'what cannot be seen is said to be unknown');
$pg->sql('postgres', q(ALTER SYSTEM SET dynamic_library_path = '/nonexistent'));
$pg->reload;
wait_until(sub { $pg->sql('postgres', 'SHOW dynamic_library_path') eq '/nonexistent' }, 10, 'the setting');
$c = $check->predicts(2, 'a plugin that is not installed', qw(-S s -m never -P test_decoding));
one_error($c, qr/^error: the server does not have the library "test_decoding" of plugin "test_decoding"; remedy: -P pgoutput$/, 'a plugin that is not installed');
$pg->sql('postgres', 'ALTER SYSTEM RESET dynamic_library_path');
$pg->reload;
wait_until(sub { $pg->sql('postgres', 'SHOW dynamic_library_path') eq '$libdir' }, 10, 'the setting');

$c = $check->looks(0, 'a long stall', qw(-S well -m never --stall-timeout 100));
is($c->line('warning'), 'warning: the stall timeout is not shorter than wal_sender_timeout (1min): the server ends the connection before a reader that stands still is noticed; remedy: --stall-timeout=30', 'a long stall');
$c = $check->looks(0, 'a short timeout', { env => { PGOPTIONS => '-c wal_sender_timeout=5s' } }, qw(-S well -m never));
is($c->line('warning'), q(warning: wal_sender_timeout is only 5s: a short delay of the network ends the connection; remedy: ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();), 'a short timeout');

# ---- output ----

sub output_fails ($status, $name, $regex, @args) {
    my $c = $check->predicts($status, $name, qw(-S well -m never), @args);
    one_error($c, $regex, $name);
    return $c;
}

my $nowhere = "$dir/nowhere/x";
output_fails(5, 'no folder', qr/^error: output file "\Q$nowhere\E" cannot be written: No such file or directory$/, -f => $nowhere);
output_fails(5, 'a folder as file', qr/^error: output file "\Q$dir\E" cannot be written: Is a directory$/, -f => $dir);
output_fails(5, 'no folder for dead letters', qr/^error: dead letter file "\Q$nowhere\E" cannot be written: /, '--dead-letter' => $nowhere);
output_fails(2, 'an ack mode of pipes', qr/^error: ack mode "read" needs a pipe, but the output is a regular file; remedy: Leave --ack-mode out/, -f => "$dir/x.out", '--ack-mode' => 'read');
my $fifo = "$dir/fifo";
$c = output_fails(2, 'no FIFO', qr/^error: acknowledgments cannot be read from \Q$fifo\E: No such file or directory; remedy: /, '--ack-mode=reply', '--ack-file' => $fifo);
is(system($c->remedy(qr/acknowledgments/)), 0, 'no FIFO: the remedy makes it');
$c = $check->predicts(0, 'a FIFO', qw(-S well -m never --ack-mode=reply --ack-file), $fifo);
is($c->line('ok', qr/FIFO/), qq(ok: acknowledgments come from FIFO "$fifo"), 'a FIFO: fine');
spew("$dir/file", '');
output_fails(2, 'a file as FIFO', qr/^error: acknowledgments cannot be read from \Q$dir\E\/file: it is not a FIFO$/, '--ack-mode=reply', '--ack-file' => "$dir/file");
output_fails(2, 'letters among the records', qr/^error: dead letter file "\S+\/both" is the output; remedy: give --dead-letter a file of its own$/, -f => "$dir/both", '--dead-letter' => "$dir/both");
$c = $check->predicts(0, 'many files', qw(-S well -m never -f), "$dir/out/{schema}.{table}.json", '--dead-letter', "$dir/dead", '--metrics-file', "$dir/nowhere/m");
is($c->line('ok', qr/files/), qq(ok: output goes to files "$dir/out/{schema}.{table}.json"), 'many files: their folders are made');
like($c->line('warning', qr/metrics/), qr/^warning: metrics file "\Q$dir\E\/nowhere\/m" cannot be written: No such file or directory$/, 'figures that nobody gets');
$c = $check->predicts(0, 'a command', qw(-S well -m never --exec), 'cat >/dev/null');
is($c->line('ok', qr/command/), 'ok: output goes to the command of --exec, which is not tried', 'a command is not run');

my $full = Cdc->run(server => $pg, db => 'shop', args => [qw(--check -S well)], stdout => '>/dev/full');
$full->exited(5, 'findings that cannot be printed');
like($full->err, qr/^cdcdump: error: could not write to standard output: No space left on device$/m, 'findings that cannot be printed: said so');

# ---- settings that take a restart ----

$pg->sql('postgres', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots; SELECT pg_create_physical_replication_slot('only')));
$pg->append_conf({ wal_level => 'replica', max_replication_slots => 1, max_wal_senders => 2, max_connections => 12 });
$pg->restart;
$c = $check->predicts(2, 'settings', qw(-S s -m never));
my @settings = grep { /^error: / } $c->lines;
like($settings[0], qr/^error: wal_level is "replica", and must be "logical", which takes a restart of the server; remedy: ALTER SYSTEM SET wal_level = logical;$/, 'wal_level');
like($settings[1], qr/^error: all 1 replication slots are in use, and .* restart of the server; remedy: ALTER SYSTEM SET max_replication_slots = 6;$/, 'replication slots');
my @others = map { $pg->session('shop', replication => 'database') } 1 .. 2;
$c = $check->predicts(3, 'no walsender left', qw(-S s -m never));
like($c->line('error', qr/max_wal_senders/), qr/^error: could not connect: .*; remedy: ALTER SYSTEM SET max_wal_senders = 7;$/, 'no walsender left');
pop(@others)->close;
wait_until(sub { $pg->sql('postgres', 'SELECT count(*) FROM pg_stat_replication') < 2 }, 10, 'the end of a walsender');
my @remedies = map { /; remedy: (ALTER SYSTEM .*;)$/ ? $1 : () } @settings;
$pg->sql('postgres', $_) for @remedies;
$_->close for @others;
$pg->restart;
$c = $check->predicts(0, 'settings as they were told', qw(-S s -m never));
is($c->line('ok', qr/replication slots/), 'ok: 1 of 6 replication slots are in use', 'settings as they were told');
$c = $check->looks(0, 'many connections', qw(-S many -m initial -j 8));
is($c->line('warning'), 'warning: 0 of 9 connections are in use, and the capture takes up to 10 (max_connections); remedy: --jobs=1', 'many connections');
is($check->looks(0, 'one connection', qw(-S many -m initial), $c->remedy(qr/connections/))->line('warning'), '', 'one connection');

done_testing;
