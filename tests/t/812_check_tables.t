# --check: what it says of publications and tables; each remedy is copied out of its line and run.
use v5.36;
use CdcTest;
use CdcTest::Check;

my $pg = PgServer->new;
my $version = $pg->version;
$pg->create_db('shop');
$pg->sql('shop', <<'SQL');
CREATE TABLE products (product_id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz, zone timetz);
CREATE UNIQUE INDEX products_name ON products (name);
CREATE TABLE log (line text);
CREATE TABLE "Odd ""name""" (id int PRIMARY KEY);
CREATE TABLE whole (a int, b int);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE computed (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE parts (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE VIEW seen AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one;
CREATE UNLOGGED TABLE quick (id int PRIMARY KEY);
CREATE ROLE owner LOGIN REPLICATION;
CREATE ROLE reader LOGIN REPLICATION;
GRANT CREATE ON DATABASE shop TO owner;
CREATE TABLE owned (id int PRIMARY KEY, name text);
ALTER TABLE owned OWNER TO owner;
GRANT USAGE ON SCHEMA public TO owner, reader;
SQL
my $dir = scratch();
my $check = CdcTest::Check->new(server => $pg, db => 'shop', dir => $dir);
my $root = $version >= 13 ? ' WITH (publish_via_partition_root = true)' : '';

sub table ($c, $name) { return join "\n", grep { /(?:table )?\Q$name\E(?::| is never)/ } $c->lines }
sub is_line ($c, $level, $regex, $line, $name) { return is($c->line($level, $regex), "$level: $line", $name) }

# What it says to do is done, in the server; then the same check has that status, and so has the capture.
sub cured ($c, $regex, $status, $name, @args) {
    my $remedy = $c->remedy($regex);
    like($remedy, qr/;$/, "$name: a remedy to be run");
    $pg->sql_ok('shop', $remedy, "$name: $remedy");
    my $after = $check->predicts($status, "$name, cured", @args);
    is($after->line('warning', $regex) . $after->line('error', $regex), '', "$name: is not said any more");
    return $after;
}

# ---- what is captured ----

my $c = $check->looks(2, 'nothing matches', qw(-S s -t nothing));
like($c->line('error'), qr/^error: no table matches; remedy: /, 'nothing matches');
is_line($c, 'warning', qr/nothing/, 'the pattern "nothing" of --table matches nothing', 'nothing matches: the pattern');
$c = $check->predicts(2, 'no pattern at all', qw(-S s -m never -t), '(');
like($c->line('error'), qr/^error: could not use the pattern "\(": invalid regular expression: /, 'no pattern at all');

$c = $check->looks(0, 'everything', qw(-S s -m never));
is_line($c, 'ok', qr/captured/, '7 tables are captured', 'everything: partitions come as their table') if $version >= 13;
is(table($c, 'public.products'), 'ok: table public.products: replica identity default (primary key product_id); updates carry the old key', 'a primary key');
is(table($c, 'public.log'), 'warning: table public.log: replica identity default without a primary key; the server refuses updates and deletes of it while it is published;'
    . ' remedy: ALTER TABLE public.log REPLICA IDENTITY FULL;', 'no key');
is(table($c, 'public.whole'), 'ok: table public.whole: replica identity full; updates and deletes carry the old row', 'identity full');
is(table($c, 'public."Odd ""name"""'), 'ok: table public."Odd ""name""": replica identity default (primary key id); updates carry the old key', 'a name in quotes');
is(table($c, 'public.parts'), 'ok: table public.parts: replica identity default (primary key id); updates carry the old key; changes of its partitions (2) come under its name',
    'a partitioned table') if $version >= 13;
is($c->line('warning', qr/generated/), $version >= 12 ? 'warning: table public.computed: generated columns are not sent: twice' : '', 'generated columns');
is(table($c, 'public.seen'), 'warning: public.seen is never captured: it is a view, which has no changes of its own', 'a view');
is(table($c, 'public.kept'), 'warning: public.kept is never captured: it is a materialized view, which is not replicated', 'a materialized view');
is(table($c, 'public.quick'), 'warning: public.quick is never captured: it is unlogged, so that its changes are not in the WAL; remedy: ALTER TABLE public.quick SET LOGGED;', 'an unlogged table');
cured($c, qr/public\.log/, 0, 'no key', qw(-S log -m never -t log));
cured($c, qr/public\.quick/, 0, 'an unlogged table', qw(-S quick -m never -t quick));
is(table($check->looks(0, 'left out', qw(-S s -m never -T seen)), 'public.seen'), '', 'what is left out is not spoken of');

# ---- replica identity ----

my @products = qw(-m never -t products);
$pg->sql('shop', 'ALTER TABLE products REPLICA IDENTITY USING INDEX products_name');
is(table($check->looks(0, 'an index', '-S', 's', @products), 'public.products'),
    'ok: table public.products: replica identity index products_name (name); updates carry the old key', 'an index');
$pg->sql('shop', 'ALTER TABLE products REPLICA IDENTITY NOTHING');
$c = $check->looks(0, 'identity nothing', '-S', 's', @products);
like(table($c, 'public.products'), qr/^warning: table public\.products: replica identity nothing; the server refuses .*; remedy: /, 'identity nothing');
$pg->sql('shop', 'ALTER TABLE products REPLICA IDENTITY DEFAULT');
$c = $check->predicts(2, 'old rows', qw(-S flink -e flink), @products);
is_line($c, 'error', qr/changelog/, 'changelog mode "all" needs REPLICA IDENTITY FULL of every captured table (these have another one: public.products); remedy: --replica-identity=full', 'old rows');
$check->looks(2, 'old rows, another identity', qw(-S flink -e flink --replica-identity=default), @products);
$check->predicts(2, 'an index that is not there', qw(-S flink --replica-identity=index:nothing), @products);
$check->looks(0, 'an index that is', qw(-S flink --replica-identity=index:products_name), @products);
$check->looks(0, 'old rows, not of updates', qw(-S flink2 -e flink --skip-ops=ud), @products);
$c = $check->predicts(0, 'old rows, as told', qw(-S flink -e flink), $c->remedy(qr/changelog/), @products);
like($c->line('ok', qr/would be set/), qr/^ok: the replica identity of table public\.products would be set: ALTER TABLE public\.products REPLICA IDENTITY FULL$/, 'old rows, as told');
is($pg->sql('shop', q(SELECT relreplident FROM pg_class WHERE oid = 'products'::regclass)), 'f', 'old rows, as told: the capture has set it');
$pg->sql('shop', 'ALTER TABLE products REPLICA IDENTITY DEFAULT');
my @ident = ({ user => 'owner' }, qw(-S ident -m never -t owned -t products --replica-identity full --publication-mode existing --publication two));
$pg->sql('shop', 'CREATE PUBLICATION two FOR TABLE owned, products');
$c = $check->predicts(2, 'an identity that is not for this role', @ident);
is_line($c, 'error', qr/identity/, 'the replica identity of table public.products cannot be set: this role does not own it; remedy: ALTER TABLE public.products REPLICA IDENTITY FULL;', 'an identity that is not for this role');
cured($c, qr/cannot be set/, 0, 'an identity that is not for this role', @ident);
$pg->sql('shop', 'ALTER TABLE products REPLICA IDENTITY DEFAULT');
SKIP: {
    skip_without($version >= 13, 'partitions come under their own names', 2);
    $pg->sql('shop', 'ALTER TABLE parts_high REPLICA IDENTITY FULL');
    like($check->looks(0, 'partitions', qw(-S s -m never -t parts))->line('warning', qr/partitions/),
        qr/^warning: partitions of table public\.parts have another replica identity than it: (?:public\.)?parts_high$/, 'a partition of its own kind');
    like($check->looks(0, 'a partition that is left out', qw(-S s -m never -t parts.* -T parts_low))->line('warning', qr/left out/),
        qr/^warning: partition public\.parts_low is not left out: its rows come as those of table public\.parts$/, 'a partition that is left out');
}

# ---- publications ----

my @existing = qw(-S pub -m never --publication-mode existing --publication);
$c = $check->predicts(2, 'a publication that is missing', @existing, 'mine');
like($c->line('error'), qr/^error: publication "mine" does not exist; remedy: Create it before the replication slot, or use another --publication-mode$/, 'a publication that is missing');
$pg->sql('shop', "CREATE PUBLICATION mine FOR TABLE products, whole WITH (publish = 'insert')");
$c = $check->looks(0, 'operations', @existing, 'mine', qw(-t products -t log));
is_line($c, 'warning', qr/table .*log/, 'publication "mine" does not send the changes of table public.log', 'a table that is not sent');
is_line($c, 'warning', qr/does not send:/, q(publication "mine" does not send: update, delete, truncate; remedy: ALTER PUBLICATION mine SET (publish = 'insert, update, delete, truncate');), 'operations');
is($check->looks(0, 'operations that are skipped', @existing, 'mine', '--skip-ops=udt')->line('warning', qr/does not send:/), '', 'operations that are skipped anyway');
cured($c, qr/does not send:/, 0, 'operations', @existing, 'mine', qw(-t products));
$c = $check->predicts(2, 'a publication of another kind', qw(-S pub -m never --publication-mode=all-tables --publication mine));
like($c->line('error'), qr/^error: publication "mine" is not FOR ALL TABLES; remedy: Use --publication-mode=existing/, 'a publication of another kind');
$pg->sql('shop', 'CREATE PUBLICATION late FOR TABLE products');
like($check->looks(0, 'a publication that came later', @existing, 'late')->line('warning', qr/younger/),
    qr/^warning: publication "late" may be younger than replication slot "pub": changes from before it was created cannot be decoded; remedy: .* -m latest-offset$/, 'a publication that came later');
$check->predicts(0, 'a publication that is altered', qw(-S pub -m never --publication mine -t whole));
is($pg->sql('shop', q(SELECT string_agg(tablename, ' ') FROM pg_publication_tables WHERE pubname = 'mine')), 'whole', 'a publication that is altered');
$c = $check->predicts(2, 'a publication that others own', { user => 'owner' }, qw(-S pub2 -m never --publication mine -t owned));
like($c->line('error'), qr/^error: publication "mine" cannot be altered: this role does not own it; remedy: ALTER PUBLICATION mine SET TABLE ONLY public\.owned;$/, 'a publication that others own');
$c = $check->predicts(2, 'tables that others own', { user => 'owner' }, qw(-S pub3 -m never), '-t', '(owned|products|whole)');
is_line($c, 'error', qr/publication/, 'publication "cdcdump_pub3" cannot be created: this role does not own public.products, public.whole; remedy: '
    . "CREATE PUBLICATION cdcdump_pub3 FOR TABLE ONLY public.owned, ONLY public.products, ONLY public.whole$root;", 'tables that others own');
$pg->sql_ok('shop', $c->remedy(qr/publication/), 'tables that others own: the remedy runs');
$check->predicts(0, 'tables that others own, cured', { user => 'owner' }, qw(-S pub3 -m never), '-t', '(owned|products|whole)');
$c = $check->predicts(2, 'all tables', { user => 'owner' }, qw(-S pub4 -m never --publication-mode all-tables));
like($c->line('error'), qr/^error: publication "cdcdump_pub4" cannot be created: FOR ALL TABLES needs a superuser; remedy: CREATE PUBLICATION cdcdump_pub4 FOR ALL TABLES\Q$root\E;$/, 'all tables');
SKIP: {
    skip_without($version >= 15, 'publications have no column lists and row filters before 15', 2);
    $pg->sql('shop', q(CREATE PUBLICATION narrow FOR TABLE products (product_id, name) WHERE (product_id > 5)));
    $c = $check->looks(0, 'a narrow publication', @existing, 'narrow');
    is_line($c, 'warning', qr/column list/, q(table public.products: the publication's column list leaves out: price, at, zone), 'a column list');
    like(table($c, 'public.products'), qr/; rows where \(product_id > 5\)$/m, 'a row filter');
}

# ---- rows ----

$pg->sql('shop', 'CREATE PUBLICATION rows FOR TABLE products, owned; CREATE TABLE seenby (id int PRIMARY KEY, who text);'
    . 'ALTER TABLE seenby ENABLE ROW LEVEL SECURITY; GRANT SELECT ON seenby TO reader; CREATE PUBLICATION hidden FOR TABLE seenby');
my @rows = ({ user => 'reader' }, qw(-S rows -m initial --publication-mode existing --publication));
$c = $check->predicts(2, 'rows that may not be read', @rows, 'rows');
is(join(' ', map { /^error: table (\S+): permission denied to read its rows; / ? $1 : () } $c->lines), 'public.owned public.products', 'rows that may not be read: all tables of that kind');
$pg->sql_ok('shop', $c->remedy(qr/public\.products: perm/), 'rows that may not be read: the first remedy');
cured($c, qr/public\.owned: perm/, 0, 'rows that may not be read', @rows, 'rows');
$rows[2] = 'hidden';
$c = $check->predicts(2, 'rows that are hidden', @rows, 'hidden');
is_line($c, 'error', qr/row-level/, 'table public.seenby: row-level security would hide rows; remedy: ALTER ROLE reader BYPASSRLS;', 'rows that are hidden');
cured($c, qr/row-level/, 0, 'rows that are hidden', @rows, 'hidden');
$c = $check->predicts(2, 'no such chunk key', qw(-S chunks -t products --snapshot incremental --chunk-key nothing));
like($c->line('error'), qr/^error: no captured table has the chunk key "nothing"$/, 'no such chunk key');
$c = $check->predicts(2, 'a query of no table', qw(-S chunks -t products --snapshot-query), 'public.nothing=SELECT 1');
like($c->line('error'), qr/^error: the snapshot query "public\.nothing=SELECT 1" is for no captured table; remedy: /, 'a query of no table');

# ---- names ----

$pg->sql('shop', qq(CREATE SCHEMA named; CREATE TABLE named."two  spaces" (id int); CREATE TABLE named."a\nb\e[1m\x{9b}c" (id int)));
$c = $check->looks(0, 'names', qw(-S names -m never -n named));
is($c->remedy(qr/spaces": replica/), 'ALTER TABLE named."two  spaces" REPLICA IDENTITY FULL;', 'names: every space of them');
is_line($c, 'warning', qr/named\."a/, 'table named."a b [1m c": replica identity default without a primary key; the server refuses updates and deletes of it while it is published', 'names: no control characters, and no remedy for another name');

# ---- formats ----

$c = $check->predicts(2, 'CSV of two tables', qw(-S csv -m never -F csv --changelog-mode upsert -t whole -t products));
like($c->line('error'), qr/^error: CSV has one table in an output, but 2 are captured \(these are public\.products, public\.whole\); remedy: Give each a file of its own, /, 'CSV of two tables');
$c = $check->predicts(0, 'Avro', qw(-S avro -m never -F avro -t products));
is_line($c, 'warning', qr/Avro/, 'table public.products: Avro holds no NaN or infinity in columns: price, at; remedy: --set decimal.handling.mode=string --set time.precision.mode=isostring', 'Avro');
$c = $check->predicts(0, 'Avro, as told', qw(-S avro -m never -F avro -t products), split / /, $c->remedy(qr/Avro/));
is($c->line('warning', qr/Avro/), '', 'Avro, as told');
# Installed or not: what it cannot tell is the same.
my $installed = $pg->sql('shop', q(SELECT (pg_stat_file((SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR') || '/decoderbufs.so', true)).size IS NOT NULL)) eq 't';
is_line($check->predicts($installed ? 0 : 2, 'a plugin without zones', qw(-S decoder -m never -P decoderbufs -t products)),
    'warning', qr/GMT/, 'table public.products: plugin "decoderbufs" gives the time of day in GMT in columns: zone', 'a plugin without zones');

done_testing;
