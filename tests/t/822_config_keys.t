# --config beside the command line: which of them counts, what is left out where it has no meaning, what
# is said about files and keys, and what is never printed.  Each key by itself: tests/unit/config_test.c.
use v5.36;
use CdcTest;

my $pg = PgServer->new(tcp => 1);
my $dir = scratch();
$pg->create_db('shop');
$pg->sql('shop', 'CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY, name text); CREATE TABLE s.b (id int PRIMARY KEY); CREATE TABLE public.a (id int PRIMARY KEY);
    INSERT INTO s.a VALUES (1, \'x\'), (2, \'y\'); INSERT INTO s.b VALUES (11)');
my @address = ('-h', $pg->sockdir, '-p', $pg->port, qw(-U postgres -w));

sub config ($name, @lines) { spew("$dir/$name", join "\n", @lines, ''); return "--config=$dir/$name" }
sub run (@args) { return Cdc->run(args => \@args) }
# Heartbeats, which such a file may ask for, are of no table.
sub tables ($r) { return join ' ', sort keys %{ { map { ("$_->{source}{schema}.$_->{source}{table}" => 1) } grep { length($_->{source}{table} // '') } $r->records } } }

sub refused ($regex, $name, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = run(@args);
    $r->exited(2, "$name: refused");
    like($r->err, $regex, "$name: says why");
    is($r->out, '', "$name: no data");
    return $r;
}

# ---- the command line wins, option by option ----

my @debezium = ('connector.class=io.debezium.connector.postgresql.PostgresConnector', 'database.dbname=shop', 'database.hostname=nowhere.invalid',
    'database.port=1', 'database.user=nobody', 'slot.name=from_file', 'table.include.list=s\\\\.a', 'topic.prefix=prefix', 'tombstones.on.delete=true',
    'heartbeat.interval.ms=100', 'snapshot.max.threads=2', 'status.update.interval.ms=1000');
my $r = run(config('plain', @debezium), @address, -E => 'now');
$r->exited(0, 'host, port and user of the command line');
is(tables($r), 's.a', 'the rest is as in the file: tables');
is(($r->records)[0]{source}{name}, 'prefix', 'server name');
is($pg->slot('from_file')->{database}, 'shop', 'slot and database');
unlike($r->err, qr/warning|error/, 'nothing to complain about');
$r = run("--config=$dir/plain", @address, -E => 'now', -S => 'given', -t => 's\.b', '--server-name=other');
$r->exited(0, 'slot, tables and name of the command line');
is(tables($r), 's.b', 'its tables in place of the file\'s');
is(($r->records)[0]{source}{name}, 'other', 'its name');
ok($pg->slot('given'), 'its slot');
refused(qr/no table matches\nHINT:  A pattern of a file has to match the whole of schema\.table\./, 'its database', "--config=$dir/plain", '-d', $pg->connstr('postgres'), -S => 'elsewhere', -E => 'now');

# ---- a publication that is named and there already is not altered ----

my $published = sub ($name) { join ' ', map { $_->[0] } @{ $pg->query('shop', "SELECT tablename FROM pg_publication_tables WHERE pubname = '$name' ORDER BY 1") } };
$pg->sql('shop', 'CREATE PUBLICATION theirs FOR TABLE s.a, s.b; CREATE PUBLICATION everything FOR ALL TABLES');
for my $publication (qw(theirs everything made)) {
    my $before = $published->($publication);
    my @config = (config("with_$publication", @debezium, "publication.name=$publication"), @address, -S => "with_$publication", -E => 'now');
    for my $how (qw(--check -v)) {
        $r = run(@config, $how);
        $r->exited(0, "publication $publication, $how");
        unlike($r->out, qr/^(?:warning|error)/m, "publication $publication, $how: no complaints");
    }
    is($published->($publication), $before || 'a', "publication $publication: " . ($before ? 'left alone' : 'made for the tables'));
    is(tables($r), 's.a', "publication $publication: the captured table");
}
refused(qr/publication "everything" is FOR ALL TABLES/, 'but with a mode that wants another', "--config=$dir/with_everything", @address, -S => 'mode', '--publication-mode=filtered', -E => 'now');

# ---- what has no meaning in such a run is left out ----

my @flink = ('connector=postgres-cdc', 'database-name=shop', 'schema-name=s', 'table-name=a', 'slot.name=flink', 'scan.incremental.snapshot.enabled=true',
    'scan.incremental.snapshot.chunk.size=2', 'scan.incremental.snapshot.chunk.key-column=id', 'changelog-mode=upsert', 'heartbeat.interval.ms=30s');
$r = run(config('flink', @flink), @address, -E => 'now');
$r->exited(0, 'a snapshot in chunks');
is(join(' ', map { "$_->{row_kind}$_->{row}{id}" } $r->records), '+I1 +I2', 'in the shape of Flink');
for my $how (['-m', 'never'], [qw(-e plain)], ['--snapshot=consistent'], [qw(-m never -F csv)], [qw(-m latest-offset -F avro)]) {
    $r = run("--config=$dir/flink", @address, -E => 'now', @$how);
    $r->exited(0, "the same with @$how");
    unlike($r->err, qr/warning|error/, "the same with @$how: no complaints");
}
for my $how ([qw(-F csv -e debezium)], [qw(-e flink --changelog-mode upsert)], [qw(-m never)], [qw(--snapshot=incremental)]) {
    $r = run("--config=$dir/plain", @address, -E => 'now', -S => 'fits', @$how);
    $r->exited(0, "Debezium's file with @$how");
}

# ---- where passwords and others come from ----

spew("$dir/secrets.properties", "user=postgres\npassword=hush\nnumber=x-hush\n");
my @secret = ('database.user=${file:secrets.properties:user}', 'database.password=${file:secrets.properties:password}', 'slot=${env:CDC_SLOT}', "host=${\ $pg->sockdir}",
    "port=${\ $pg->port}", 'database.dbname=shop', 'table.include.list=s[.]b', 'startup-mode=never');
$r = Cdc->run(args => [config('secret', @secret), -E => 'now', '-v'], env => { CDC_SLOT => 'by_env' }, cwd => '/');
$r->exited(0, 'variables, a file beside the file');
ok($pg->slot('by_env'), 'and the environment');
unlike($r->err, qr/hush/, 'no secret is printed');
refused(qr/the environment has no variable "CDC_SLOT"\nDETAIL:  That is for "slot", in line 3 of /, 'a variable that is not there', "--config=$dir/secret");
$r = refused(qr/^cdcdump: error: invalid value for "database\.port": must be a whole number from 1 to 65535\nDETAIL:  That is line 1 of /m, 'a wrong value from a file',
    config('bad', 'database.port=${file:secrets.properties:number}', 'batch-rows=${file:secrets.properties:number}'));
unlike($r->err, qr/hush/, 'it is not printed');
$r = refused(qr/^cdcdump: error: invalid value for "batch-rows"\nDETAIL:  That is line 1 of /m, 'of an option of our own', config('bad', 'batch-rows=${file:secrets.properties:number}', 'slot=s'));
unlike($r->err, qr/hush/, 'nor is that');

# ---- mistakes ----

$r = refused(qr/invalid value "x" for "database\.port"/, 'several mistakes', config('bad', 'connector.class=io.debezium.connector.postgresql.PostgresConnector', 'database.port=x', 'plugin.name=y', 'table.whitelits=z'));
is(scalar(() = $r->err =~ /^cdcdump: error: /mg), 3, 'all of them are told');
refused(qr/^cdcdump: error: invalid format "x": must be one of ndjson, csv, avro\nDETAIL:  That is line 2 of ".*", with key "format"\.$/m, 'a value that the option refuses', config('bad', 'slot=s', 'format=x'));
refused(qr/line 1 of ".*": this is SQL\nHINT:  Of a CREATE TABLE take/, 'a whole statement', config('bad', 'CREATE TEMPORARY TABLE source (id int) WITH (', "'connector' = 'adbpg-cdc')"));
refused(qr/could not open ".*nowhere": No such file or directory/, 'no file', "--config=$dir/nowhere");
refused(qr/could not read ".*": Is a directory/, 'a folder', "--config=$dir");
$r = run(config('warned', @debezium, 'max.batch.size=10', 'transforms=unwrap', 'some.new.key=1'), @address, -E => 'now');
$r->exited(0, 'keys without an effect');
is(join('|', $r->err =~ /^cdcdump: warning: "(.*?)" has no effect: /mg), 'max.batch.size|transforms|some.new.key', 'each is warned about');
is(run("--config=$dir/warned", @address, -E => 'now', '-q')->err, '', 'but with -q');

# ---- keys of the other connector, and options more than once ----

$r = run(config('mixed', 'connector=postgres-cdc', 'database-name=shop', 'schema-name=s', 'table-name=b', 'slot.name=mixed', 'slot.drop_on_stop=true', 'database.server.name=mine'),
    @address, -E => 'now');
$r->exited(0, 'keys of Debezium in a file of Flink CDC');
is_deeply([$r->err =~ /^cdcdump: warning: "(.*?)" is no key of a connector of Flink CDC, where it is "(.*?)": taken/mg],
    [map { ($_, "debezium.$_") } qw(slot.drop_on_stop database.server.name)], 'are told');
is(($r->records)[0]{source}{name}, 'mine', 'and taken');
is($pg->slot('mixed'), undef, 'each of them');
$r = run(config('repeated', 'dbname=shop', 'slot=repeated', 'drop-slot-on-stop=true', 'table=s\\\\.a', 'until=now', 'table=b'), @address);
$r->exited(0, 'an option that can be repeated');
is(tables($r), 's.a s.b', 'adds up');
unlike($r->err, qr/warning|error/, 'without a word');
done_testing;
