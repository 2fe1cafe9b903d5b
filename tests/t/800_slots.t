# --list-slots in each of its forms, --create-slot and --drop-slot with what they refuse.
use v5.36;
use utf8;
use CdcTest;
use JSON::PP ();

my $version = PgServer::version();
my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('postgres', 'CREATE ROLE poor LOGIN; CREATE ROLE walker LOGIN REPLICATION');

sub list (@args) { return Cdc->run(server => $pg, args => ['--list-slots', @args]) }
sub create ($name, @args) { return Cdc->run(server => $pg, db => 'shop', args => ['--create-slot', -S => $name, @args]) }
sub drop ($name, @args) { return Cdc->run(server => $pg, db => 'shop', args => ['--drop-slot', -S => $name, @args]) }

sub publications ($db = 'shop') { return $pg->sql($db, q(SELECT string_agg(pubname, ' ' ORDER BY pubname) FROM pg_publication)) }

sub wal_end () { return lsn_num($pg->sql('postgres', 'SELECT pg_current_wal_flush_lsn()')) }

# A run that says something on standard error and nothing on standard output.
sub says ($r, $status, $regex, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r->exited($status, "$name: exit status $status");
    like($r->err, $regex, "$name: is said");
    is($r->out, '', "$name: nothing on standard output");
}

my @keys = (qw(name plugin database active_pid), ($version >= 13 ? 'state' : ()), qw(confirmed_lsn lag_bytes retained_bytes),
    ($version >= 17 ? 'inactive_since' : ()), 'temporary', ($version >= 14 ? 'two_phase' : ()),
    ($version >= 17 ? qw(failover synced) : ()), 'reason');

# ---- none ----

$pg->sql('postgres', q(SELECT pg_create_physical_replication_slot('physical', true)));
for ([[], "name  plugin  database  pid  state  confirmed  lag  retained\n"], [[qw(-F ndjson)], ''], [[qw(-F csv)], join(',', @keys) . "\n"]) {
    my ($args, $out) = @$_;
    my $r = list(@$args);
    $r->exited(0, "no slots (@$args): exit status 0");
    is($r->out, $out, "no slots (@$args): the header at most, and no physical slot");
    is($r->err, "cdcdump: there are no logical replication slots\n", "no slots (@$args): is said");
}
is(list('-q')->err, '', 'no slots, -q: nothing is said');

# ---- created ----

my $r = create('first');
says($r, 0, qr/\Acdcdump:\ created\ publication\ "cdcdump_first",\ which\ has\ no\ tables\ yet\n
    cdcdump:\ created\ replication\ slot\ "first"\ at\ [0-9A-F]+\/[0-9A-F]+\n\z/x, 'an empty database');
my ($at) = $r->err =~ /slot "first" at (\S+)/;
my $slot = $pg->slot('first');
is_deeply([@$slot{qw(plugin database confirmed_flush_lsn temporary)}], ['pgoutput', 'shop', $at, JSON::PP::false], 'a slot of pgoutput');
is(publications(), 'cdcdump_first', 'and its publication');

$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); INSERT INTO t VALUES (1)');
{
    # What is written after the creation is given to the first capture, which puts the table in.
    my $capture = Cdc->run(server => $pg, db => 'shop', args => [qw(-S first -m committed-offset -t t -e plain -E now)]);
    $capture->exited(0, 'a capture from a slot that was made before the tables');
    $pg->sql('shop', 'INSERT INTO t VALUES (2)');
    $capture = Cdc->run(server => $pg, db => 'shop', args => [qw(-S first -m committed-offset -t t -e plain -E now)]);
    is(join(' ', map { $_->{row}{id} } $capture->records), '2', 'gives the changes since the table was put in');
}

says(create('picked', qw(-t u)), 0, qr/created publication "cdcdump_picked"\n/, 'with tables');
is($pg->sql('shop', q(SELECT string_agg(tablename, ' ') FROM pg_publication_tables WHERE pubname = 'cdcdump_picked')), 'u', 'the publication has just these');
says(create('typo', qw(-t nothing)), 0, qr/warning: the pattern "nothing" of --table matches nothing\n.*which has no tables yet/s, 'a pattern that matches nothing');
says(create('every', '--publication-mode=all-tables'), 0, qr/created publication "cdcdump_every" for all tables\n/, 'all tables');
says(create('shared', qw(--publication-mode=existing --publication=cdcdump_every)), 0, qr/\Acdcdump: created replication slot "shared" at \S+\n\z/, 'an existing publication');
says(create('other', qw(-P test_decoding)), 0, qr/\Acdcdump: created replication slot "other" at \S+\n\z/, 'another plugin: has no publication');
is($pg->slot('other')->{plugin}, 'test_decoding', 'another plugin');
SKIP: {
    skip_without($version >= 15, 'two-phase slots of pgoutput come with 15', 2);
    create('phased', '--two-phase')->exited(0, 'two-phase');
    ok($pg->slot('phased')->{two_phase}, 'two-phase: it is');
}
SKIP: {
    skip_without($version >= 17, 'failover slots come with 17', 2);
    create('kept', '--failover')->exited(0, 'failover');
    ok($pg->slot('kept')->{failover}, 'failover: it is');
}
says(create('not', '--failover'), 2, qr/error: --failover needs PostgreSQL 17 or later\n/, 'failover before 17') if $version < 17;
says(create('not', '--two-phase'), 2, qr/error: --two-phase needs PostgreSQL 15 or later\n/, 'two-phase before 15') if $version < 15;

# ---- not created ----

my $publications = publications();
says(create('first'), 2, qr/\Acdcdump: error: could not create the replication slot: replication slot "first" already exists\nHINT: .*\n\z/, 'there already');
says(create('first', '--if-not-exists'), 0, qr/\Acdcdump: replication slot "first" is there already\n\z/, 'there already, and fine');
says(create('other', '--if-not-exists'), 0, qr/"other" is there already\nDETAIL:  Its plugin is "test_decoding", not "pgoutput"\.\n\z/, 'there already, another plugin');
says(create('physical', '--if-not-exists'), 0, qr/"physical" is there already\nDETAIL:  It is a physical slot\.\n\z/, 'there already, physical');
says(Cdc->run(server => $pg, args => [qw(--create-slot -S first --if-not-exists)]), 0,
    qr/"first" is there already\nDETAIL:  It belongs to database "shop", not to "postgres"\.\n\z/, 'there already, another database');
says(create('not', '--publication-mode=existing'), 2, qr/error: publication "cdcdump_not" does not exist\nHINT/, 'no such publication');
says(create('not', -t => '(x'), 2, qr/error: could not use the pattern "\(x": invalid regular expression/, 'a wrong pattern');
says(Cdc->run(args => ['-d', $pg->connstr('shop', user => 'poor'), qw(--create-slot -S not)]), 2,
    qr/error: could not connect: .*(?:replication role|WAL sender)/, 'a role without REPLICATION');
says(Cdc->run(args => ['-d', $pg->connstr('shop', user => 'walker'), qw(--create-slot -S not)]), 2,
    qr/error: could not create the publication: permission denied for database shop\n/, 'a role that may not make publications');
is(publications(), $publications, 'and there is no other publication');
is($pg->slot('not'), undef, 'nor a slot');

# A publication that was made for nothing goes again.
my $free = $pg->sql('postgres', q(SELECT current_setting('max_replication_slots')::int - count(*) FROM pg_replication_slots));
$pg->sql('postgres', qq(SELECT pg_create_physical_replication_slot('filler' || g) FROM generate_series(1, $free) AS g));
says(create('not'), 2, qr/created publication "cdcdump_not"\n.*error: could not create the replication slot: all replication slots are in use\n.* dropped publication "cdcdump_not" again\n\z/s, 'no slot is left');
is(publications(), $publications, 'no slot is left: no publication is left, either');
says(create('not', qw(--publication=cdcdump_every --publication-mode=all-tables)), 2, qr/all replication slots are in use/, 'no slot is left, the publication was there');
is(publications(), $publications, 'no slot is left: a publication that was there stays');
$pg->sql('postgres', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'filler%'));

# ---- interrupted ----

{
    my $session = $pg->session('shop');
    $session->sql('BEGIN; INSERT INTO u VALUES (1)');
    my $c = Cdc->start(server => $pg, db => 'shop', args => [qw(--create-slot -S waits -t t)]);
    $c->wait_stderr(qr/waiting for running transactions before the replication slot can be created\nDETAIL:  .*process /);
    $c->wait_handler('INT');
    my ($row) = map { JSON::PP::decode_json($_) } list(qw(-S waits -F ndjson))->lines;
    my $pid = $session->pid;
    like($row->{reason}, qr/\Abeing created by process $row->{active_pid} \(cdcdump\), which waits for the end of the transaction of process $pid \(psql, idle in transaction since \S+ \S+ UTC\)\z/,
        'a slot that is being created: why');
    is($row->{confirmed_lsn}, undef, 'a slot that is being created has no position');
    $r = $c->stop('INT');
    says($r, 1, qr/error: could not create the replication slot: interrupted\n/, 'interrupted');
    like($r->err, qr/dropped publication "cdcdump_waits" again\n/, 'interrupted: the publication goes');
    is($pg->slot('waits'), undef, 'interrupted: there is no slot');
    $session->sql('ROLLBACK');
    is($pg->slot('waits'), undef, 'interrupted: nor does one come');
    is(publications(), $publications, 'interrupted: nor a publication');
}

# ---- somebody else is quicker, or in the way ----

# The tables' lock holds the publication up until there is a slot of that name.
{
    my $session = $pg->session('shop');
    $session->sql('BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE');
    my $c = Cdc->start(server => $pg, db => 'shop', args => [qw(--create-slot -S quick -t t --if-not-exists)]);
    wait_until(sub { $pg->sql('shop', q(SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass AND NOT granted)) == 1 }, 20, 'the lock');
    $pg->sql('shop', q(SELECT pg_create_physical_replication_slot('quick')));
    $session->sql('ROLLBACK');
    says($c->wait, 0, qr/\Acdcdump: created publication "cdcdump_quick"\ncdcdump: replication slot "quick" is there already\nDETAIL:  It is a physical slot\.\n\z/,
        'made by another in between, and fine');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot('quick'); DROP PUBLICATION cdcdump_quick));
}

# Functions and operators that fit better than the server's own, which whoever may create some could put there.
{
    my $fails = q(LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'hijacked'; END$$;);
    my %hostile = ('to_jsonb(pg_replication_slots)' => 'jsonb', 'quote_literal(name)' => 'text', 'quote_ident(name)' => 'text', 'format(text, text)' => 'text',
        'format(text, name, name)' => 'text', 'unnest(text[])' => 'SETOF text', 'unnest(oid[])' => 'SETOF oid', 'pg_drop_replication_slot(text)' => 'void',
        'arrow(jsonb, jsonb)' => 'text');
    $pg->sql('shop', join '', map { "CREATE FUNCTION public.$_ RETURNS $hostile{$_} $fails" } sort keys %hostile);
    $pg->sql('shop', 'CREATE OPERATOR public.->> (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.arrow)');
    {
        my $r = Cdc->run(server => $pg, db => 'shop', args => ['--list-slots']);
        $r->exited(0, 'hostile functions, a list: exit status 0');
        like($r->out, qr/^other: nobody reads it.*\n    .*pg_drop_replication_slot\('other'\);$/m, 'hostile functions, a list: as without');
    }
    says(create('tough', qw(-t t)), 0, qr/\Acdcdump: created publication "cdcdump_tough"\ncdcdump: created replication slot "tough" at \S+\n\z/, 'hostile functions, creating');
    says(drop('tough'), 0, qr/\Acdcdump: dropped replication slot "tough"\nHINT: .*\n\z/, 'hostile functions, dropping');
    $pg->sql('shop', 'DROP PUBLICATION cdcdump_tough; DROP OPERATOR public.->> (jsonb, jsonb);' . join '', map { "DROP FUNCTION public.$_;" } keys %hostile);
}

# ---- listed ----

my @names = sort qw(first picked typo every shared other), ($version >= 15 ? 'phased' : ()), ($version >= 17 ? 'kept' : ());
my @wal = (wal_end());    # an idle server writes to the WAL now and then
my $ndjson = list(qw(-F ndjson));
push @wal, wal_end();
$ndjson->exited(0, 'ndjson');
is($ndjson->err, '', 'ndjson: nothing else is said');
my @rows = map { JSON::PP::decode_json($_) } $ndjson->lines;
is(join(' ', map { $_->{name} } @rows), "@names", 'ndjson: the logical slots, by name, of every database');
is_deeply([$ndjson->out =~ /\A(.*)\n/ && $1 =~ /"(\w+)":/g], \@keys, 'ndjson: its keys, in this order');
for my $row (@rows) {
    my $slot = $pg->slot($row->{name});
    is_deeply({ %$row{qw(plugin database active_pid confirmed_lsn temporary)} },
        { %$slot{qw(plugin database active_pid temporary)}, confirmed_lsn => $slot->{confirmed_flush_lsn} }, "slot $row->{name}: as the server has it");
    is($row->{state}, 'reserved', "slot $row->{name}: its state") if $version >= 13;
    my $end = lsn_num($slot->{confirmed_flush_lsn}) + $row->{lag_bytes};
    ok($wal[0] <= $end && $end <= $wal[1], "slot $row->{name}: its lag");
    is($row->{retained_bytes}, $end - lsn_num($slot->{restart_lsn}), "slot $row->{name}: what is kept for it");
    like($row->{reason}, qr/\Anobody reads it/, "slot $row->{name}: why it does not move");
    like($row->{inactive_since}, qr/\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/, "slot $row->{name}: since when") if $version >= 17;
}
like($ndjson->out, qr/"name":"first",.*"active_pid":null,.*"lag_bytes":\d+,.*"temporary":false,/, 'ndjson: numbers, booleans and null are such');

# COPY of a table with the same columns reads the file, and what is in it is the same.
my $csv = list(qw(-F csv));
$csv->exited(0, 'csv');
is(($csv->lines)[0], join(',', @keys), 'csv: a header');
spew($pg->dir . '/slots.csv', $csv->out);
chmod 0644, $pg->dir . '/slots.csv';
$pg->sql('postgres', 'CREATE TABLE listed (' . join(', ', map { "$_ " . (/pid|bytes/ ? 'bigint' : /temporary|phase|failover|synced/ ? 'bool' : 'text') } @keys) . ')');
$pg->sql('postgres', 'COPY listed FROM ' . "'" . $pg->dir . "/slots.csv'" . ' (FORMAT csv, HEADER)');
is($pg->sql('postgres', q(SELECT string_agg(concat_ws(' ', name, plugin, database, active_pid, confirmed_lsn, temporary, reason), '|' ORDER BY name COLLATE "C") FROM listed)),
    join('|', map { join ' ', @$_{qw(name plugin database)}, $_->{confirmed_lsn}, 'f', $_->{reason} } @rows), 'csv: read back by COPY it says the same');
is($pg->sql('postgres', 'SELECT count(*) FROM listed WHERE active_pid IS NOT NULL'), 0, 'csv: NULL is NULL');

my $table = list();
$table->exited(0, 'the table');
my ($lines, $reasons) = split /\n\n/, $table->out;
is(join("\n", grep { length > 80 } split /\n/, $table->out), '', 'the table fits 80 columns');
unlike($table->out, qr/[ \t]$/m, 'the table has no blanks at the ends of lines');
like((split /\n/, $lines)[0], qr/\Aname +plugin +database +pid +state +confirmed +lag +retained/, 'the table has a header');
is(join(' ', map { /\A(\S+)/ } (split /\n/, $lines)[1 .. @names]), "@names", 'the table has a line for each');
like($lines, qr/^other +test_decoding +shop +\S* +[0-9A-F]+\/[0-9A-F]+ +\d+ (?:B|kB|MB) +\d+ (?:B|kB|MB)$/m, 'a line of the table');
like($reasons, qr/^phased \(two_phase\): nobody reads it/m, 'two-phase slots are told apart') if $version >= 15;
like($reasons, qr/^other: nobody reads it.*\n    if nobody will: SELECT pg_drop_replication_slot\('other'\);$/m, 'below it, why, and what to do');

is(join(' ', map { $_->{name} } map { JSON::PP::decode_json($_) } list(qw(-F ndjson -S other))->lines), 'other', '-S: that one');
says(list(qw(-S nothing)), 2, qr/\Acdcdump: error: replication slot "nothing" does not exist\n\z/, '-S: none of that name');
says(list(qw(-S physical)), 2, qr/\Acdcdump: error: replication slot "physical" is a physical slot\n\z/, '-S: a physical one');

# No privilege is needed, nor a replication connection.
$r = Cdc->run(args => ['-d', $pg->connstr('postgres', user => 'poor'), qw(--list-slots -F ndjson)]);
$r->exited(0, 'a role without any privilege');
is(join(' ', map { $_->{name} } map { JSON::PP::decode_json($_) } $r->lines), "@names", 'a role without any privilege: sees all');
$pg->sql('shop', 'REVOKE EXECUTE ON FUNCTION pg_control_checkpoint() FROM public');
$r = Cdc->run(args => ['-d', $pg->connstr('shop', user => 'poor'), qw(--list-slots -F ndjson)]);
$r->exited(0, 'a role that may not even see the last checkpoint');
is(scalar($r->lines), @names, 'a role that may not even see the last checkpoint: sees all');
says(Cdc->run(args => ['-d', $pg->connstr('nowhere'), '--list-slots']), 2, qr/could not connect: .*database "nowhere" does not exist/, 'no such database');

$r = Cdc->run(server => $pg, args => ['--list-slots'], stdout => '>/dev/full');
$r->exited(5, 'onto a full disk: exit status 5');
like($r->err, qr/could not write to standard output: No space left on device/, 'onto a full disk: is said');
Cdc->run(server => $pg, args => ['--list-slots'], stdout => 'closed')->exited(5, 'onto nothing: exit status 5');
{
    pipe my $reader, my $writer or die "pipe: $!";
    close $reader;
    Cdc->run(server => $pg, args => ['--list-slots'], stdout => $writer)->signaled('PIPE', 'a reader that has gone');
}

# ---- dropped ----

says(drop('physical'), 2, qr/\Acdcdump: error: replication slot "physical" is a physical slot\nHINT: .*pg_drop_replication_slot\('physical'\);\n\z/, 'a physical slot is not dropped');
ok($pg->slot('physical'), 'a physical slot: is there');
says(drop('nothing'), 2, qr/\Acdcdump: error: could not drop the replication slot: replication slot "nothing" does not exist\nHINT: .*\n\z/, 'none to be dropped');
says(drop('nothing', '--if-exists'), 0, qr/\Acdcdump: replication slot "nothing" does not exist\n\z/, 'none to be dropped, and fine');
says(Cdc->run(args => ['-d', $pg->connstr('shop', user => 'poor'), qw(--drop-slot -S other)]), 2, qr/error: could not drop the replication slot: /, 'a role that may not');
ok($pg->slot('other'), 'a role that may not: it is there');
says(Cdc->run(args => ['-d', $pg->connstr('shop', user => 'walker'), qw(--drop-slot -S other)]), 0, qr/\Acdcdump: dropped replication slot "other"\n\z/, 'another plugin');
is($pg->slot('other'), undef, 'another plugin: it is gone');
says(drop('picked'), 0, qr/\Acdcdump: dropped replication slot "picked"\nHINT:  .*: DROP PUBLICATION cdcdump_picked;\n\z/, 'one with a publication');
is($pg->slot('picked'), undef, 'one with a publication: it is gone');
like(publications(), qr/\bcdcdump_picked\b/, 'one with a publication: that stays');
says(Cdc->run(server => $pg, args => [qw(--drop-slot -S typo)]), 0, qr/\Acdcdump: dropped replication slot "typo"\n\z/, 'one of another database');
is($pg->slot('typo'), undef, 'one of another database: it is gone');

# ---- the server goes away while a slot is being created ----

{
    my $session = $pg->session('shop');
    $session->sql('BEGIN; INSERT INTO u VALUES (1)');
    my $c = Cdc->start(server => $pg, db => 'shop', args => [qw(--create-slot -S late -t t)]);
    wait_until(sub { $pg->slot('late') }, 20, 'the slot that is being created');
    $pg->stop('immediate');
    says($c->wait, 3, qr/\Acdcdump: created publication "cdcdump_late"\ncdcdump: error: could not create the replication slot: .*\ncdcdump: warning: publication "cdcdump_late" has been left behind\n\z/s,
        'no server any more');
}

done_testing;
