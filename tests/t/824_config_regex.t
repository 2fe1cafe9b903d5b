# Java's regular expressions in configurations, decided by the server: the same tables as Java's own
# matching gives (Java 17, CASE_INSENSITIVE, whole of schema.table; run once, the results are below).
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new;
my $dir = scratch();
$pg->create_db('shop');

# Schema and name; the numbers below count them.
my @tables = (
    ['public', 'orders'], ['public', 'Orders'], ['public', 'products'], ['public', 'documents'], ['public', 'products_1'], ['public', 'products_22'],
    ['public', 'products_4444'], ['public', 'o.o'], ['x', 'public.orders'], ['public.x', 'orders'], ['sales', 'items'], ['sales', 'items_old'], ['Sales', 'orders'],
    ['public', 'über'], ['public', 'ÜBER'], ['public', 'a b'], ['public', "line\nend"], ['public', "end\n"], ['public', 'x+y'], ['public', 'a,b'], ['public', 'K'],
    ['public', "\x{212a}"], ['public', 'i'], ['public', 'ı'], ['public', '$1'], ['public', 'back\\slash'],
);
sub name ($number) { return join '.', map { qq("$_") } @{ $tables[$number] } }
$pg->sql('shop', join '', (map { qq(CREATE SCHEMA "$_";) } qw(x public.x sales Sales)), map { 'CREATE TABLE ' . name($_) . ' (id int PRIMARY KEY);' } 0 .. $#tables);

# What the publication then has.
sub published ($publication) {
    my %number = map { (join("\0", @{ $tables[$_] }) => $_) } 0 .. $#tables;
    return join ' ', sort { $a <=> $b } map { $number{ join "\0", @$_ } } @{ $pg->query('shop', "SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = '$publication'") };
}

my $runs = 0;

sub run (@pairs) {
    my $text = "connector.class=io.debezium.connector.postgresql.PostgresConnector\n";
    while (my ($key, $value) = splice @pairs, 0, 2) { $text .= "'$key' = '" . ($value =~ s/'/''/gr) . "',\n" }
    utf8::encode($text);
    spew("$dir/config", $text);
    $runs++;
    return Cdc->run(server => $pg, db => 'shop', args => ["--config=$dir/config", -S => 's', '-m' => 'never', -E => 'now']);
}

my $no_table = qr/^cdcdump: error: no table matches$/m;

# ---- table.include.list ----

my @cases = map { [/\A(.*?)  =>(?:  (.*))?\z/] } split /\n/, <<'CASES';
public\.orders  =>  0 1
public.orders  =>  0 1
(public|sales)\.orders  =>  0 1 12
public.products|documents  =>  2
public\.(products|documents)  =>  2 3
PUBLIC\.Orders  =>  0 1
public\.products_\d{1,3}  =>  4 5
public\.products_[0-9]+  =>  4 5 6
public\.products_*  =>  2
.*  =>  0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18 19 20 21 22 23 24 25
(?s).*  =>  0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25
.*\..*  =>  0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 18 19 20 21 22 23 24 25
[^.]+\.[^.]+  =>  0 1 2 3 4 5 6 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25
orders  =>
sales\.(?!.*_old$).*  =>  10 12
.*(?<!_old)  =>  0 1 2 3 4 5 6 7 8 9 10 12 13 14 15 18 19 20 21 22 23 24 25
(?-i)public\.Orders  =>  1
(?-i:Sales)\.orders  =>  12
public\.über  =>  13
public\.Ü.*  =>  14
public\.[a-z&&[^op]].*  =>  3 9 15 18 19 20 22 25
public\.[^o].*  =>  2 3 4 5 6 9 13 14 15 18 19 20 21 22 23 24 25
\Qpublic.o.o\E  =>  7
\Qpublic.x+y\E  =>  18
public\.x\+y  =>  18
public\.\w+  =>  0 1 2 3 4 5 6 20 22
public\.\W.*  =>  13 14 21 23 24
public\.\S+\s\S+  =>  15 16
public\.end$  =>
public\.end\n  =>  17
public\.end\s?$  =>  17
public\.k  =>  20
public\.I  =>  22
public\.(?<n>k|i)  =>  20 22
public\.[\p{Alpha}&&[^a-jl-z]]  =>  20
public\.\p{Punct}.*  =>  24
.*\$.*  =>  24
.*\\.*  =>  25
public\.a\x20b  =>  15
(.*\.)?orders  =>  0 1 8 9 12
^public\.orders$  =>  0 1
\Apublic\.orders\z  =>  0 1
.{11,13}  =>  0 1 10 12 13 14
public\.(?:a.b|[\u00fc]ber)  =>  13 15 19
x\..*  =>  8
public\.x\..*  =>  9
public\..\..  =>  7
CASES
for my $case (@cases) {
    my ($pattern, $expected) = ($case->[0], $case->[1] // '');
    my $r = run('table.include.list' => $pattern =~ s/(?<=\d),(?=\d)/\\,/r);
    if ($expected eq '') {
        $r->exited(2, "$pattern: no table");
        like($r->err, $no_table, "$pattern: says so");
        like($r->err, qr/the pattern "\Q$pattern\E" of the tables in the configuration matches nothing/, "$pattern: as it was written");
    } else {
        $r->exited(0, "$pattern: a run");
        is(published('cdcdump_s'), $expected, "$pattern: the tables of Java");
    }
}

# ---- lists, and the other keys ----

sub without (@numbers) { my %out = map { ($_ => 1) } @numbers; return join ' ', grep { !$out{$_} } 0 .. $#tables }

run('table.include.list' => 'public\.orders , sales\..*')->exited(0, 'a list');
is(published('cdcdump_s'), '0 1 10 11 12', 'of two patterns');
run('table.exclude.list' => 'PUBLIC\.[^ıi].*,s.*')->exited(0, 'tables to leave out');
is(published('cdcdump_s'), without(0 .. 7, 9 .. 15, 18 .. 21, 24, 25), 'are the rest');
run('schema.include.list' => 'S.*')->exited(0, 'schemas');
is(published('cdcdump_s'), '10 11 12', 'in any case');
run('schema.exclude.list' => 'public,PUBLIC\.x', 'table.include.list' => '.*s')->exited(0, 'schemas to leave out, and tables');
is(published('cdcdump_s'), '8 10 12', 'both count');
run('schema.include.list' => 'public', 'table.include.list' => 'public.orders')->exited(0, 'the bare name of a table does not count');
is(published('cdcdump_s'), '0 1', 'a table called public.orders is none of them');
my $r = Cdc->run(server => $pg, db => 'shop', args => ["--config=$dir/config", qw(-S s -m never -E now -t public.orders)]);
is(published('cdcdump_s'), '0', '-t in place of them: of schemas as in the file, and its case counts');

# ---- columns ----

$pg->sql('shop', 'CREATE TABLE public.wide (id int PRIMARY KEY, "Name" text, note text, "line
end" text)');
for my $case (['column.exclude.list', 'public\.wide\.(name|LINE.*)', 'id,line end,note'], ['column.include.list', 'PUBLIC\.wide\.N.*', 'Name,id,note'],
    ['column.include.list', 'public\.wide\.note,.*\.line\nend', 'id,line end,note'])
{
    my ($key, $pattern, $expected) = @$case;
    my @pairs = ('table.include.list' => 'public\.wide', $key => $pattern);
    run(@pairs)->exited(0, "$key $pattern: a run");
    $pg->sql('shop', q(INSERT INTO wide SELECT coalesce(max(id), 0) + 1, 'a', 'b', 'c' FROM wide));
    my ($record) = run(@pairs)->records;
    is(join(',', map { s/\n/ /r } sort keys %{ $record->{after} }), $expected, "$key $pattern: the columns, and always the key");
}
note("$runs runs");
done_testing;
