# What is captured: patterns, publications, partitions, replica identities, privileges, kinds of
# slots; and transactions of all sorts.
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new(extra_conf => { max_replication_slots => 80, log_statement => 'ddl' });
my $version = $pg->version;
my $db = 'shop';
$pg->create_db($db);

sub capture (@args) { return Cdc->run(server => $pg, db => $db, args => [qw(-m never -E now), @args]) }
sub sql ($text) { return $pg->sql($db, $text) }
sub slots () { return $pg->sql($db, 'SELECT count(*) FROM pg_replication_slots') }

# A database of its own for each theme, so that patterns meet just its tables.
sub new_db ($name, $tables) {
    $pg->create_db($db = $name);
    sql($tables);
}

# "schema.table" of what the records are about, each once.
sub tables_of ($r) { return join ' ', sort keys %{ { map { ("$_->{source}{schema}.$_->{source}{table}" => 1) } $r->records } } }
sub ops_of ($r) { return join ' ', map { "$_->{op}:$_->{source}{table}:" . ($_->{op} eq 't' ? '' : canonical($_->{after} // $_->{before})) =~ s/"//gr } $r->records }
sub published ($publication) { return sql("SELECT coalesce(string_agg(schemaname || '.' || tablename, ' ' ORDER BY schemaname COLLATE \"C\", tablename COLLATE \"C\"), '') FROM pg_publication_tables WHERE pubname = '$publication'") }

# Refused: nothing on stdout, no slot and no publication left behind.
sub refused ($status, $regex, $name, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($before, $publications) = (slots(), sql('SELECT count(*) FROM pg_publication'));
    my $r = capture(@args);
    $r->exited($status, $name);
    like($r->err, $regex, "$name: says why");
    is($r->out, '', "$name: no data");
    is(slots() . ' ' . sql('SELECT count(*) FROM pg_publication'), "$before $publications", "$name: leaves nothing behind");
    return $r;
}

# ---- patterns ----

sql('CREATE SCHEMA sales; CREATE SCHEMA "Sales"; CREATE SCHEMA secret');
my @tables = ('public."Orders"', 'public.documents', 'public.log_1', 'public.log_22', 'public.log_4444', 'public.orders', 'public.products',
    '"Sales".items', 'sales.log_1', 'sales.orders', 'secret.orders', 'public."o.o"');
sql("CREATE TABLE $_ (id int PRIMARY KEY)") for @tables;
sql('CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE VIEW viewed AS SELECT * FROM orders;
    CREATE MATERIALIZED VIEW mat AS SELECT * FROM orders; CREATE SEQUENCE seq');

my $everything = join ' ', sort map { tr/"//dr } @tables;
my @selections = (
    [[], $everything],
    [[qw(-t orders)], 'public.orders sales.orders secret.orders'],
    [['-t', 'public\.orders'], 'public.orders'],
    [['-t', '(products|documents)'], 'public.documents public.products'],
    [['-t', 'products|documents'], 'public.documents public.products'],
    [['-t', 'log_[0-9]{1,3}'], 'public.log_1 public.log_22 sales.log_1'],
    [['-t', '(?i)orders'], 'public.Orders public.orders sales.orders secret.orders'],
    [['-t', '(?i)public\.ORDERS|log_22'], 'public.Orders public.log_22 public.orders'],
    [['-t', 'Orders'], 'public.Orders'],
    [['-t', '(?x) or ders'], 'public.orders sales.orders secret.orders'],
    [['-t', '(?:orders)'], 'public.orders sales.orders secret.orders'],
    [['-t', '(?=sales\.).*'], 'sales.log_1 sales.orders'],
    [['-t', '.*'], $everything],
    [['-t', 'o\.o'], 'public.o.o'],
    [['--table=orders', '-t', 'products'], 'public.orders public.products sales.orders secret.orders'],
    [[qw(-n sales)], 'sales.log_1 sales.orders'],
    [['-n', '(?i)sales'], 'Sales.items sales.log_1 sales.orders'],
    [[qw(-n sales --schema=secret)], 'sales.log_1 sales.orders secret.orders'],
    [[qw(-N public)], 'Sales.items sales.log_1 sales.orders secret.orders'],
    [['-N', '.*s', '-N', 'secret'], join ' ', grep { /^public/ } split / /, $everything],
    [['-n', '[sS].*', '--exclude-schema=Sales'], 'sales.log_1 sales.orders secret.orders'],
    [['-T', '.*\..*'], ''],
    [['-T', 'o.*', '-T', 'log.*'], 'Sales.items public.Orders public.documents public.products'],
    [['-t', 'o.*', '--exclude-table=sales\..*'], 'public.o.o public.orders secret.orders'],
    [[qw(-n public -t orders)], 'public.orders'],
    [['-n', 's.*', '-t', 'orders|items', '-N', 'secret', '-T', 'x'], 'sales.orders'],
);
my @first = map { capture('-S', "p$_", @{ $selections[$_][0] }) } 0 .. $#selections;
for my $i (grep { $selections[$_][1] ne '' } 0 .. $#selections) {
    my $name = join ' ', @{ $selections[$i][0] };
    $first[$i]->exited(0, "selection $name");
    is(published("cdcdump_p$i"), join(' ', sort split / /, $selections[$i][1]), "selection $name: the publication has just these tables");
}
sql("INSERT INTO $_ VALUES (1)") for @tables, 'unlogged';
sql('REFRESH MATERIALIZED VIEW mat');
my $mark = $pg->log_mark;
for my $i (grep { $selections[$_][1] ne '' } 0 .. $#selections) {
    is(tables_of(capture('-S', "p$i", @{ $selections[$i][0] })), $selections[$i][1], 'selection ' . join(' ', @{ $selections[$i][0] }) . ': records of these tables');
}
ok(!$pg->log_contains(qr/ALTER PUBLICATION/, $mark), 'an unchanged selection alters no publication');
like($first[25]->err, qr/^cdcdump: warning: the pattern "x" of --exclude-table matches nothing$/m, 'a pattern that matches nothing is named');

my $none = qr/^cdcdump: error: no table matches\nHINT:  A pattern has to match the whole of a table's name, or of schema\.table, and is case-sensitive\.$/m;
refused(2, $none, "nothing matches: @$_", '-S', 'none', @$_)
    for ['-T', '.*\..*'], ['-t', 'order'], ['-t', 'ORDERS'], ['-t', 'ublic\.orders'], ['-t', ''], ['-n', 'sal'], [qw(-n sales -N sales)], [qw(-n public -t), 'sales\.orders'], [qw(-t orders -T), '.*orders'],
        [qw(-t unlogged)], [qw(-t viewed)], [qw(-t mat)], [qw(-t seq)], [qw(-n pg_catalog)], [qw(-n information_schema)], [qw(-t pg_class)];
my $unmatched = refused(2, $none, 'a pattern that is nothing but wrong', qw(-S none -t nix -n nowhere));
like($unmatched->err, qr/^cdcdump: warning: the pattern "nowhere" of --schema matches nothing$/m, 'warned about');
like($unmatched->err, qr/^cdcdump: warning: the pattern "nix" of --table matches nothing$/m, 'each of them');
my $one = capture(qw(-S p0 -t orders -t nix -T nothing -N nobody --exclude-column x));
$one->exited(0, 'one pattern of several that matches nothing');
is(join("\n", sort grep { /warning/ } split /\n/, $one->err), join("\n", map { qq(cdcdump: warning: the pattern "$_->[1]" of --$_->[0] matches nothing) }
    ['exclude-table', 'nothing'], ['exclude-column', 'x'], ['exclude-schema', 'nobody'], ['table', 'nix']) =~ s/(.*)\n(.*)\n(.*)\n(.*)/join "\n", sort $1, $2, $3, $4/er, 'is a warning each');
for my $bad ('(', '[a', 'a{2', '*a', 'a**', '\\', 'x)|(y') {
    for my $option (qw(-n -N -t -T --exclude-column)) {
        next if $option ne '-t' && $bad ne '(';
        my $r = refused(2, qr/^cdcdump: error: could not use the pattern "\Q$bad\E": invalid regular expression: /m, "$option $bad is no pattern", '-S', 'none', $option, $bad);
    }
}

# ---- publications ----

new_db('pubs', 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)');
my $r = capture(qw(-S pub -t [ab]));
like($r->err, qr/^cdcdump: created publication "cdcdump_pub"$/m, 'a filtered publication is created');
sql('INSERT INTO a VALUES (1); INSERT INTO c VALUES (1)');
my $wider = capture(qw(-S pub -t [bc]));
is(published('cdcdump_pub'), 'public.b public.c', 'another selection: the publication is altered');
is(tables_of($wider), '', 'what is no longer selected is not written');
sql('INSERT INTO a VALUES (2); INSERT INTO c VALUES (2); CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1)');
is(ops_of(capture(qw(-S pub -t [bcd]))), 'c:c:{id:2}', 'what is newly selected is written from then on');
sql('INSERT INTO d VALUES (2)');
is(ops_of(capture(qw(-S pub -t [bcd]))), 'c:d:{id:2}', 'a table made later');
capture('-S', 'named', '--publication', 'My "pub", é' =~ s/é/\xc3\xa9/r, '-t', 'a')->exited(0, 'a publication with an odd name');
sql('INSERT INTO a VALUES (3)');
is(ops_of(capture('-S', 'named', '--publication', 'My "pub", é' =~ s/é/\xc3\xa9/r, '-t', 'a')), 'c:a:{id:3}', 'works');
my $longest = 'x' x 63;
capture('-S', $longest, '-t', 'a')->exited(0, 'a slot with the longest name');
sql('INSERT INTO a VALUES (4)');
is(ops_of(capture('-S', $longest, '-t', 'a')), 'c:a:{id:4}', 'works');

capture(qw(-S every --publication-mode=all-tables -n public -T b))->exited(0, 'a publication of all tables');
is(sql(q(SELECT puballtables FROM pg_publication WHERE pubname = 'cdcdump_every')), 't', 'is one');
sql('CREATE SCHEMA other; CREATE TABLE other.x (id int PRIMARY KEY); CREATE TABLE late (id int PRIMARY KEY); INSERT INTO a VALUES (5); INSERT INTO b VALUES (5); INSERT INTO other.x VALUES (5); INSERT INTO late VALUES (5)');
is(ops_of(capture(qw(-S every --publication-mode=all-tables -n public -T b))), 'c:a:{id:5} c:late:{id:5}', 'selected tables of it, ones made later among them');
refused(2, qr/^cdcdump: error: publication "cdcdump_every" is FOR ALL TABLES\nHINT:  .*--publication-mode=existing/m, 'one of all tables, wanted filtered', qw(-S every));
refused(2, qr/^cdcdump: error: publication "cdcdump_pub" is not FOR ALL TABLES\nHINT:  .*--publication-mode=existing/m, 'one of some tables, wanted for all', qw(-S pub --publication-mode=all-tables));

my @existing = qw(--publication-mode=existing --publication=mine);
refused(2, qr/^cdcdump: error: publication "mine" does not exist\nHINT:  Create it before the replication slot/m, 'an existing publication that does not exist', '-S', 'ex', @existing);
sql(q(CREATE PUBLICATION mine FOR TABLE a, b WITH (publish = 'insert, delete')));
my $definition = sub { sql(q(SELECT p::text || (SELECT string_agg(prrelid::regclass::text, ',' ORDER BY 1) FROM pg_publication_rel WHERE prpubid = p.oid) FROM pg_publication p WHERE pubname = 'mine')) };
my $before = $definition->();
$r = capture('-S', 'ex', @existing, '-t', '[ac]');
$r->exited(0, 'an existing publication');
like($r->err, qr/^cdcdump: warning: publication "mine" does not send the changes of table public\.c$/m, 'what it lacks is said');
unlike($r->err, qr/of table a\b/, 'and only that');
sql('INSERT INTO a VALUES (6); INSERT INTO b VALUES (6); INSERT INTO c VALUES (6); UPDATE a SET id = 7 WHERE id = 6; DELETE FROM a WHERE id = 7; TRUNCATE a');
is(ops_of(capture('-S', 'ex', @existing, '-t', '[ac]')), 'c:a:{id:6} d:a:{id:7}', 'what it sends, and of that what is selected');
is($definition->(), $before, 'it is never altered');
my $state = scratch() . '/state.json';
capture('-S', 'ex', @existing, '--state', $state)->exited(0, 'a state file');
sql('DROP PUBLICATION mine');
refused(2, qr/^cdcdump: error: publication "mine" does not exist$/m, 'a publication that is gone', '-S', 'ex', @existing, '--state', $state);

SKIP: {
    skip_without($version >= 15, 'PostgreSQL 15 brought column lists', 1);
    sql('CREATE TABLE listed (id int PRIMARY KEY, a int, hidden int); CREATE PUBLICATION columns FOR TABLE listed (id, a)');
    capture(qw(-S columns --publication-mode=existing --publication=columns))->exited(0, 'a publication with a list of columns');
    sql('INSERT INTO listed VALUES (1, 2, 3); UPDATE listed SET id = 4; DELETE FROM listed');
    is(ops_of(capture(qw(-S columns --publication-mode=existing --publication=columns))), 'c:listed:{a:2,id:1} u:listed:{a:2,id:4} d:listed:{id:4}', 'only those come');
}

# ---- where a slot that is there is read from ----

for (['latest-offset', ''], ['never', 'c:a:{id:%d}'], ['committed-offset', 'c:a:{id:%d}']) {
    my ($mode, $expected) = @$_;
    state $id = 100;
    Cdc->run(server => $pg, db => $db, args => [qw(-S where -t a -m never -E now)])->exited(0, 'a slot');
    sql('INSERT INTO a VALUES (' . ++$id . ')');
    my $r = Cdc->run(server => $pg, db => $db, args => [qw(-S where -t a -E now -m), $mode]);
    $r->exited(0, "mode $mode");
    is(ops_of($r), $expected =~ s/%d/$id/r, "mode $mode " . ($expected ? 'reads what is pending' : 'skips what is pending'));
    sql('INSERT INTO a VALUES (' . ++$id . ')');
    is(ops_of(Cdc->run(server => $pg, db => $db, args => [qw(-S where -t a -E now -m never)])), "c:a:{id:$id}", 'and what comes after it is there');
}

# ---- partitions ----

new_db('parts', q(CREATE TABLE root (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
    CREATE TABLE eu PARTITION OF root FOR VALUES IN ('eu');
    CREATE TABLE us (v int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region)); ALTER TABLE root ATTACH PARTITION us FOR VALUES IN ('us');
    CREATE TABLE asia PARTITION OF root FOR VALUES IN ('jp', 'cn') PARTITION BY LIST (region); CREATE TABLE jp PARTITION OF asia FOR VALUES IN ('jp');
    CREATE TABLE plain_one (id int PRIMARY KEY);
    CREATE PUBLICATION leaves FOR TABLE root));
my $via = $version >= 13;
my %parts = (
    root => [qw(-t root)], leaf => [qw(-t eu)], sub => [qw(-t asia)], all => [], leaf_and_root => [qw(-t eu|root)],
    by_leaf => [qw(-t root --publication-mode=existing --publication=leaves)], one_of => [qw(-t us --publication-mode=existing --publication=leaves)],
    but_one => [qw(-t root -T us --publication-mode=existing --publication=leaves)], every => [qw(--publication-mode=all-tables)],
);
SKIP: {
    skip_without($via, 'PostgreSQL 13 brought publications of partitioned tables', 10);
    capture('-S', "part_$_", @{ $parts{$_} })->exited(0, "partitions, $_") for sort keys %parts;
    is(published('cdcdump_part_root'), 'public.root', 'the root is published, not its partitions');
    is(published('cdcdump_part_all'), 'public.plain_one public.root', 'also when all of them are selected');
    is(published('cdcdump_part_leaf'), 'public.eu', 'a leaf by itself');
    is(published('cdcdump_part_sub'), 'public.asia', 'a partition with partitions by itself');
    sql(q(INSERT INTO root VALUES (1, 'eu', 10), (2, 'us', 20), (3, 'jp', 30); INSERT INTO us (id, region, v) VALUES (4, 'us', 40); UPDATE root SET region = 'us' WHERE id = 1;
        UPDATE us SET v = 21 WHERE id = 2; DELETE FROM root WHERE id = 3; TRUNCATE eu; TRUNCATE root;
        CREATE TABLE cn PARTITION OF asia FOR VALUES IN ('cn'); INSERT INTO root VALUES (5, 'cn', 50)));
    my %got = map { $_ => ops_of(capture('-S', "part_$_", @{ $parts{$_} })) } sort keys %parts;
    my $whole = 'c:root:{id:1,region:eu,v:10} c:root:{id:2,region:us,v:20} c:root:{id:3,region:jp,v:30} c:root:{id:4,region:us,v:40} d:root:{id:1,region:eu} c:root:{id:1,region:us,v:10} '
        . 'u:root:{id:2,region:us,v:21} d:root:{id:3,region:jp} t:root: c:root:{id:5,region:cn,v:50}';
    is($got{root}, $whole, 'all partitions as the root; a row that moves is a deletion and an insert; the truncate of a leaf is not sent');
    is($got{$_}, $whole, "the same with the selection $_") for qw(all every leaf_and_root);
    is($got{leaf}, 'c:eu:{id:1,region:eu,v:10} d:eu:{id:1,region:eu} t:eu: t:eu:', 'a leaf by itself, truncates among them');
    is($got{sub}, 'c:asia:{id:3,region:jp,v:30} d:asia:{id:3,region:jp} c:asia:{id:5,region:cn,v:50}' =~ s/ c:/ t:asia: c:/r, 'a partition with partitions by itself');
    my $by_leaf = 'c:eu:{id:1,region:eu,v:10} c:us:{id:2,region:us,v:20} c:jp:{id:3,region:jp,v:30} c:us:{id:4,region:us,v:40} d:eu:{id:1,region:eu} c:us:{id:1,region:us,v:10} '
        . 'u:us:{id:2,region:us,v:21} d:jp:{id:3,region:jp} t:eu: t:';
    like($got{by_leaf}, qr/\A\Q$by_leaf\E(?:eu|us|jp): t:(?:eu|us|jp): t:(?:eu|us|jp): c:cn:\{id:5,region:cn,v:50\}\z/, 'a publication by leaves: leaves, all of the root');
    my $covered = capture(qw(-S part_root -t root -T us));
    like($covered->err, qr/^cdcdump: warning: partition public\.us is not left out: its rows come as those of table public\.root$/m, 'a leaf that cannot be left out is warned about');
    is(scalar(() = $covered->err =~ /warning/g), 1, 'no other is');
    is(join(' ', grep { !/^t:/ } split / /, $got{one_of}), 'c:us:{id:2,region:us,v:20} c:us:{id:4,region:us,v:40} c:us:{id:1,region:us,v:10} u:us:{id:2,region:us,v:21}', 'the selected leaf only');
    is(scalar(grep { /^t:us:/ } split / /, $got{one_of}), 1, 'with its truncate');
    is(scalar(grep { /:us:/ } split / /, $got{but_one}), 0, 'a leaf that is left out');
    is(scalar(grep { /:(?:eu|jp|cn):/ } split / /, $got{but_one}), 8, 'and the others');
}

# ---- replica identities ----

new_db('identities', q(CREATE TABLE keyed (id int PRIMARY KEY, code text NOT NULL); CREATE UNIQUE INDEX by_code ON keyed (code); CREATE TABLE bare (id int);
    CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
    CREATE TABLE "Odd ""one" (id int PRIMARY KEY)));
my $identities = sub { sql(q(SELECT string_agg(relname || ':' || relreplident::text, ' ' ORDER BY relname COLLATE "C") FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)) };
my $said = sub ($r) { return join "\n", map { s/\Acdcdump: //r } grep { /REPLICA IDENTITY/ } split /\n/, $r->err };
$r = capture(qw(-S id));
$r->exited(0, 'identities are kept');
is($identities->(), 'Odd "one:d bare:d keyed:d p1:d', 'as they were');
like($r->err, qr/^cdcdump: warning: table public\.bare has no replica identity: the server refuses updates and deletes of it while it is published\nHINT:  Add a primary key, use --replica-identity=full, or leave the table out with -T\.$/m,
    'a table without one is warned about');
is(scalar(() = $r->err =~ /has no replica identity/g), 1, 'once, and no other');
like(($pg->try_sql($db, 'INSERT INTO bare VALUES (1); UPDATE bare SET id = 2'))[2], qr/does not have a replica identity/, 'rightly');
$r = capture(qw(-S id --replica-identity=full));
$r->exited(0, '--replica-identity=full');
is($said->($r), join("\n", map { "ALTER TABLE $_ REPLICA IDENTITY FULL" } 'public."Odd ""one"', qw(public.bare public.keyed public.p public.p1)), 'is said of each table, a root and its leaves');
is($identities->(), 'Odd "one:f bare:f keyed:f p1:f', 'and done');
unlike($r->err, qr/has no replica identity/, 'no table is without one then');
sql(q(UPDATE bare SET id = 3; INSERT INTO keyed VALUES (1, 'a'); UPDATE keyed SET code = 'b'; INSERT INTO p VALUES (1); UPDATE p SET id = 2));
$r = capture(qw(-S id --replica-identity=full));
is($said->($r), '', 'what is so already is not said again');
is(canonical([map { $_->{before} } grep { $_->{op} eq 'u' } $r->records]), '[{"id":1},{"code":"a","id":1},{"id":1}]', 'updates have the old row');
$r = capture(qw(-S id --replica-identity=default -T bare));
is($said->($r), join("\n", map { "ALTER TABLE $_ REPLICA IDENTITY DEFAULT" } 'public."Odd ""one"', qw(public.keyed public.p public.p1)), '--replica-identity=default, of captured tables');
is($identities->(), 'Odd "one:d bare:f keyed:d p1:d', 'and only of those');
$r = capture(qw(-S id -t keyed --replica-identity=index:by_code));
is($said->($r), 'ALTER TABLE public.keyed REPLICA IDENTITY USING INDEX by_code', '--replica-identity=index:NAME');
sql(q(UPDATE keyed SET code = 'c'; DELETE FROM keyed));
$r = capture(qw(-S id -t keyed --replica-identity=index:by_code));
is($said->($r), '', 'is not said again');
is(canonical([map { $_->{before} } $r->records]), '[{"code":"b"},{"code":"c"}]', 'old rows are of its columns');
refused(2, qr/^cdcdump: error: could not set the replica identity: index "none" for table "keyed" does not exist$/m, 'an index that is not there', qw(-S id2 -t keyed --replica-identity=index:none));
$r = capture(qw(-S id -t keyed|bare --replica-identity=nothing));
$r->exited(0, '--replica-identity=nothing');
is($identities->(), 'Odd "one:d bare:n keyed:n p1:d', 'is done');
is(join(' ', sort $r->err =~ /^cdcdump: warning: table (\S+) has no replica identity/mg), 'public.bare public.keyed', 'and warned about');
sql('CREATE PUBLICATION few FOR TABLE bare, p');
$r = capture(qw(-S few --publication=few --publication-mode=existing --replica-identity=full));
is($said->($r), join("\n", map { "ALTER TABLE $_ REPLICA IDENTITY FULL" } qw(public.bare public.p1)), 'a publication that exists: of its tables alone');
is($identities->(), 'Odd "one:d bare:f keyed:n p1:f', 'and only of those');

# ---- privileges ----

new_db('rights', 'CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION given FOR TABLE t');
$pg->sql('postgres', 'CREATE ROLE reader LOGIN REPLICATION; CREATE ROLE creator LOGIN REPLICATION; CREATE ROLE writer LOGIN; GRANT CREATE ON DATABASE rights TO creator, writer');
sql('GRANT SELECT ON t TO reader, creator; CREATE SCHEMA w AUTHORIZATION writer; CREATE TABLE w.own (id int PRIMARY KEY); ALTER TABLE w.own OWNER TO writer;
    CREATE SCHEMA c AUTHORIZATION creator; CREATE TABLE c.own (id int PRIMARY KEY); ALTER TABLE c.own OWNER TO creator');
my $as = sub ($role) { return ('-d', $pg->connstr($db, user => $role)) };
refused(2, qr/^cdcdump: error: could not create the publication: permission denied for database rights\nHINT:  A role that owns the tables can run: CREATE PUBLICATION cdcdump_r FOR TABLE ONLY public\.t /m,
    'a role that may not create a publication', qw(-S r -t t), $as->('reader'));
refused(2, qr/^cdcdump: error: could not create the publication: must be owner of table t\nHINT:  .*CREATE PUBLICATION/m, 'a role that does not own the table', qw(-S r -t t), $as->('creator'));
refused(2, qr/^cdcdump: error: could not create the publication: must be superuser to create FOR ALL TABLES publication\nHINT:  /m, 'all tables as an ordinary role', qw(-S r --publication-mode=all-tables), $as->('creator'));
refused(2, qr/^cdcdump: error: could not set the replica identity: must be owner of table t$/m, 'the identity of a table of others', qw(-S r -t t --replica-identity=full), $as->('creator'));
refused(2, qr/^cdcdump: error: could not connect: .*(?:must be superuser or replication role|permission denied to start WAL sender).*\n(?:DETAIL:.*\n)?HINT:  The role needs the REPLICATION attribute: ALTER ROLE .* REPLICATION\.$/m,
    'a role without REPLICATION', qw(-S r -n w), $as->('writer'));
capture(qw(-S given --publication-mode=existing --publication=given), $as->('reader'))->exited(0, 'a publication that is there is enough for a role with REPLICATION');
capture(qw(-S created -n c), $as->('creator'))->exited(0, 'a role that owns the table');
sql('INSERT INTO t VALUES (1); INSERT INTO c.own VALUES (2)');
is(ops_of(capture(qw(-S given --publication-mode=existing --publication=given), $as->('reader'))), 'c:t:{id:1}', 'the first reads');
is(ops_of(capture(qw(-S created -n c), $as->('creator'))), 'c:own:{id:2}', 'so does the second');

# ---- kinds of slots ----

new_db('slots', 'CREATE TABLE t (id int PRIMARY KEY)');
my $c = Cdc->start(server => $pg, db => $db, args => [qw(-S temp -m never --temporary-slot)]);
$c->wait_stderr(qr/created replication slot "temp"/);
sql('INSERT INTO t VALUES (1)');
like(($c->read_lines(1))[0], qr/"after":\{"id":1\}/, '--temporary-slot: reads');
ok($pg->slot('temp')->{temporary}, 'the slot is one');
$c->stop->exited(0, 'stops');
is($pg->slot('temp'), undef, 'and the slot is gone');

$state = scratch() . '/state.json';
my @dropping = ('-S', 'drop', '--drop-slot-on-stop', '--state', $state);
$c = Cdc->start(server => $pg, db => $db, args => [qw(-m never), @dropping]);
$c->wait_stderr(qr/created replication slot "drop"/);
sql('INSERT INTO t VALUES (2)');
$c->read_lines(1);
$pg->wait_for(sub { -s $state }, 10, 'the state file');
$c->kill('KILL');
$c->wait->signaled('KILL', 'killed');
ok($pg->slot('drop') && -e $state, '--drop-slot-on-stop: a run that was killed leaves slot and state');
$c = Cdc->start(server => $pg, db => $db, args => [qw(-m never), @dropping]);
sql('INSERT INTO t VALUES (3)');
$c->read_until(qr/"after":\{"id":3\}/);
$r = $c->stop('TERM');
$r->exited(0, 'one that is stopped');
like($r->err, qr/^cdcdump: dropped replication slot "drop"$/m, 'drops the slot');
ok(!$pg->slot('drop') && !-e $state, 'slot and state are gone');
capture(@dropping)->exited(0, 'so the next begins anew');
is($pg->slot('drop'), undef, 'and a bound that is reached is a regular end, too');

refused(2, qr/^cdcdump: error: --failover needs PostgreSQL 17 or later$/m, '--failover', qw(-S fo --failover)) if $version < 17;
refused(2, qr/^cdcdump: error: --two-phase needs PostgreSQL 15 or later$/m, '--two-phase', qw(-S tp --two-phase --transactions)) if $version < 15;
refused(2, qr/^cdcdump: error: .*origin.* needs PostgreSQL 16 or later$/m, '-o origin', qw(-S og -o origin=none)) if $version < 16;
refused(2, qr/^cdcdump: error: --messages needs PostgreSQL 14 or later$/m, '--messages', qw(-S ms --messages)) if $version < 14;
if ($version >= 17) {
    capture(qw(-S fo --failover))->exited(0, '--failover');
    ok($pg->slot('fo')->{failover}, 'the slot is one');
}
sql(q(SELECT pg_create_logical_replication_slot('foreign_plugin', 'test_decoding'); SELECT pg_create_physical_replication_slot('physical')));
refused(2, qr/^cdcdump: error: replication slot "foreign_plugin" was created for plugin "test_decoding", not for "pgoutput"$/m, 'a slot of another plugin', qw(-S foreign_plugin -P pgoutput));
refused(2, qr/^cdcdump: error: replication slot "physical" is a physical slot$/m, 'a physical slot', qw(-S physical));
refused(2, qr/^cdcdump: error: replication slot "p0" belongs to database "shop", not to "slots"$/m, 'a slot of another database', qw(-S p0));

# ---- transactions of all sorts ----

new_db('transactions', 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE unseen (id int PRIMARY KEY)');
capture(qw(-S tx -t t))->exited(0, 'a slot');
sql('BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a; INSERT INTO t VALUES (2); SAVEPOINT b; INSERT INTO t VALUES (3); ROLLBACK TO a; INSERT INTO t VALUES (4); RELEASE a; SAVEPOINT c; INSERT INTO t VALUES (5); COMMIT;
    BEGIN; INSERT INTO t VALUES (6); ROLLBACK; BEGIN; SAVEPOINT x; INSERT INTO t VALUES (7); ROLLBACK TO x; COMMIT');
$r = capture(qw(-S tx -t t --transactions));
is(join(' ', map { $_->{status} ? $_->{status} . ($_->{event_count} // '') : "$_->{after}{id}:$_->{source}{tx_seq}" } $r->records), 'BEGIN 1:1 4:2 5:3 END3', 'what was rolled back is not there, in sub-transactions or whole');
is(join(' ', sort keys %{ { map { $_->{source}{txId} => 1 } grep { $_->{op} } $r->records } }), ($r->records)[1]{source}{txId}, 'and sub-transactions bear the number of their transaction');

# Empty transactions.
$state = scratch() . '/state.json';
capture(qw(-S tx -t t --state), $state)->exited(0, 'a state file');
my $from = lsn_num($pg->slot('tx')->{confirmed_flush_lsn});
sql('INSERT INTO unseen SELECT generate_series(1, 100); BEGIN; SELECT txid_current(); COMMIT; CREATE TABLE made_meanwhile (id int); DROP TABLE made_meanwhile');
my $to = lsn_num($pg->wal_lsn);
$r = capture(qw(-S tx -t t --transactions --state), $state);
is($r->out, '', 'transactions of others leave no trace');
cmp_ok($to, '>', $from, 'they were there');
cmp_ok(lsn_num($pg->slot('tx')->{confirmed_flush_lsn}), '>=', $to, 'and the position has passed them');

# Transactions that begin in one order and commit in another.
my ($s1, $s2) = map { $pg->session($db) } 1, 2;
$s1->sql('BEGIN'); $s1->sql('INSERT INTO t VALUES (10)');
$s2->sql('BEGIN'); $s2->sql('INSERT INTO t VALUES (20)'); $s2->sql('COMMIT');
is(ops_of(capture(qw(-S tx -t t --state), $state)), 'c:t:{id:20}', 'a transaction within another one');
$s1->sql('INSERT INTO t VALUES (11)'); $s1->sql('COMMIT');
is(ops_of(capture(qw(-S tx -t t --state), $state)), 'c:t:{id:10} c:t:{id:11}', 'the other one whole, though it began before');

# Prepared transactions, where nobody asked for them.
sql(q(BEGIN; INSERT INTO t VALUES (30); PREPARE TRANSACTION 'p1'; BEGIN; INSERT INTO t VALUES (31); PREPARE TRANSACTION 'p2'; INSERT INTO t VALUES (32)));
is(ops_of(capture(qw(-S tx -t t --state), $state)), 'c:t:{id:32}', 'a prepared transaction is not there yet');
sql(q(COMMIT PREPARED 'p1'; ROLLBACK PREPARED 'p2'));
is(ops_of(capture(qw(-S tx -t t --state), $state)), 'c:t:{id:30}', 'it comes when it is committed, in a later run, once');
is(capture(qw(-S tx -t t --state), $state)->out, '', 'and never again');

SKIP: {
    skip_without($version >= 15, 'PostgreSQL 15 brought two-phase slots', 1);
    $state = scratch() . '/state.json';
    my @two = (qw(-S two -t t --two-phase --transactions --state), $state);
    my $marks = sub ($r) { join ' ', map { $_->{status} ? ($_->{status} =~ tr/ /_/r) . ($_->{gid} ? ":$_->{gid}" : '') . (defined $_->{event_count} ? "=$_->{event_count}" : '') : "$_->{op}:" . $_->{after}{id} } $r->records };
    capture(@two)->exited(0, '--two-phase');
    ok($pg->slot('two')->{two_phase}, 'the slot is one');
    refused(2, qr/^cdcdump: error: replication slot "two" gives prepared transactions before they are committed\nHINT:  Add --two-phase --transactions, or choose another slot\.$/m,
        'such a slot without --two-phase', qw(-S two -t t));
    sql(q(BEGIN; INSERT INTO t VALUES (40), (41); PREPARE TRANSACTION 'g 1'; INSERT INTO t VALUES (42); BEGIN; INSERT INTO t VALUES (43); PREPARE TRANSACTION 'g2'));
    $r = capture(@two);
    is($marks->($r), 'BEGIN:g 1 c:40 c:41 PREPARE:g 1=2 BEGIN c:42 END=1 BEGIN:g2 c:43 PREPARE:g2=1', 'prepared transactions come when they are prepared');
    my ($prepared) = grep { ($_->{gid} // '') eq 'g 1' } $r->records;
    is(capture(@two)->out, '', 'nothing while they stand');
    sql(q(COMMIT PREPARED 'g 1'; ROLLBACK PREPARED 'g2'));
    $r = capture(@two);
    is($marks->($r), 'COMMIT_PREPARED:g 1 ROLLBACK_PREPARED:g2', 'a run that starts in between hears of their fate, and not of their changes');
    is((split /:/, ($r->records)[0]{id})[0], (split /:/, $prepared->{id})[0], 'under the same number');
    sql(q(BEGIN; INSERT INTO t VALUES (50); PREPARE TRANSACTION 'g3'; COMMIT PREPARED 'g3'; BEGIN; INSERT INTO t VALUES (51); PREPARE TRANSACTION 'g4'; ROLLBACK PREPARED 'g4';
        BEGIN; INSERT INTO unseen VALUES (500); PREPARE TRANSACTION 'g5'; COMMIT PREPARED 'g5'));
    # The server tells the fate of every prepared transaction, and only PREPARE could tell whose it is.
    is($marks->(capture(@two)), 'BEGIN:g3 c:50 PREPARE:g3=1 COMMIT_PREPARED:g3 BEGIN:g4 c:51 PREPARE:g4=1 ROLLBACK_PREPARED:g4 COMMIT_PREPARED:g5', 'all of it in one run');
    my $end = $pg->wal_lsn;
    sql(q(BEGIN; INSERT INTO t VALUES (55); PREPARE TRANSACTION 'g6'));
    my $behind = $pg->wal_lsn;
    sql(q(INSERT INTO unseen VALUES (501); COMMIT PREPARED 'g6'));
    pop @two; pop @two;    # no state file: the position is that of the slot
    my @until = (server => $pg, db => $db, args => [@two, qw(-m never -E)]);
    is(Cdc->run(%{ { @until, args => [@{ $until[5] }, $end] } })->out, '', 'a bound before a PREPARE');
    is($marks->(Cdc->run(%{ { @until, args => [@{ $until[5] }, $behind] } })), 'BEGIN:g6 c:55 PREPARE:g6=1', 'a bound right behind a PREPARE, before its COMMIT PREPARED');
    is($marks->(capture(@two)), 'COMMIT_PREPARED:g6', 'which comes next');
    $r = capture(qw(-S two_plain -t t --two-phase --transactions -e plain));
    $r->exited(0, 'plain');
    sql(q(BEGIN; INSERT INTO t VALUES (60); PREPARE TRANSACTION 'g"6'; COMMIT PREPARED 'g"6'));
    $r = capture(qw(-S two_plain -t t --two-phase --transactions -e plain));
    is(join(' ', map { $_->{op} . ($_->{gid} ? ":$_->{gid}" : '') } $r->records), 'begin:g"6 c prepare:g"6 commit_prepared:g"6', 'in the plain envelope');
}

done_testing;
