# Whoever may create functions in a schema of the search path can make some that fit better than the
# server's own, and would be run as the role that captures: none of them is called.
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new;
my $dir = scratch();
for my $db (qw(quiet hostile)) {
    $pg->create_db($db)->sql($db, <<'SQL');
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE t (id text PRIMARY KEY, n numeric, tags text[], feeling mood, feelings mood[], two pair, big text);
CREATE TABLE leaf_of (id int, part int) PARTITION BY LIST (part);
CREATE TABLE leaf PARTITION OF leaf_of FOR VALUES IN (1);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
ALTER TABLE leaf_of REPLICA IDENTITY FULL;
INSERT INTO t SELECT 'k' || i, i, ARRAY['x', 'y'], 'happy', '{sad,happy}', ROW(i, 'b')::pair, repeat('z', 3000) FROM generate_series(1, 30) i;
SQL
}

# One for each polymorphic or variadic function of the server, and type that it might be given here.
my $fails = q(LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'hijacked'; END$$;);
my @types = ('text[]', 'name[]', 'oid[]', 'int2[]', 'int4[]', 'regclass[]', 'text', 'name', 'oid', 'jsonb', 'pg_replication_slots', 'pg_database', 'pg_settings', '"char"', 'int4', 'int8', 'pg_lsn', 'regclass');
my %one = (unnest => [0 .. 5], array_agg => [6 .. 8, 14], to_jsonb => [9 .. 12], to_json => [10 .. 12], quote_ident => [6, 7], quote_literal => [6, 7], format_type => [8],
    count => [6 .. 9], max => [8, 14], md5 => [7], replace => [7], pg_partition_ancestors => [8, 14], pg_get_publication_tables => [7], cardinality => [0 .. 5]);
my @functions = map { my $name = $_; map { "$name($types[$_])" } @{ $one{$name} } } sort keys %one;
push @functions, map { "format($_)" } 'text, text', 'text, name', 'text, name, name', 'text, regclass', 'text, int4, text', 'text, int2, name, oid, int4', 'text, name, text';
push @functions, 'string_agg(text, varchar)', 'string_agg(name, text)', 'array_position(int2[], int2)', 'format_type(oid, text)', 'quote_nullable(name)', 'concat(text, text)',
    'array_length(text[], int4)', 'array_to_string(text[], varchar)', 'trunc(numeric, int8)', 'to_jsonb(name)', 'pg_relation_size(oid)', 'has_table_privilege(oid, text)', 'age(xid, text)';
my @operators = (
    (map { my $op = $_; map { [$op, $_, $_] } @types[0 .. 5] } qw(<@ @> && = <> ||)), (map { ['||', $_->[0], $_->[1]] } ['text', 'name'], ['name', 'text'], ['text', 'int4']),
    ['->>', 'jsonb', 'jsonb'], ['->>', 'jsonb', 'name'], ['~', 'name', 'name'], ['&', 'int8', 'int4'], ['*', 'numeric', 'int4'], ['=', 'name', 'varchar'], ['=', 'oid', 'regclass'], ['=', 'oid', 'int8'],
);

sub hijack {
    my $sql = join '', map { "CREATE FUNCTION public.$_ RETURNS text $fails" } @functions;
    my $n = 0;
    for (@operators) {
        my ($op, $left, $right) = @$_;
        $n++;
        $sql .= "CREATE FUNCTION public.op$n($left, $right) RETURNS bool $fails CREATE OPERATOR public.$op (LEFTARG = $left, RIGHTARG = $right, FUNCTION = public.op$n);";
    }
    $pg->sql('hostile', $sql);
}

# Everything that is asked of the server: rows by each way, a column that was not sent, other plugins.
sub everything ($db) {
    my @given;
    my $run = sub ($name, @args) {
        my $r = Cdc->run(server => $pg, db => $db, args => [-S => "${db}_$name" , @args]);
        $r->exited(0, "$db: $name") or diag($r->err);
        push @given, [$name, $r];
        return $r;
    };
    $run->(whole => qw(-E now -e plain -f), "$dir/$db.whole", '--state', "$dir/$db.whole.json");
    $run->(chunks => qw(-m initial --snapshot=incremental --chunk-size=7 -E now -e plain --types=debezium));
    $run->(flink => qw(-m never -t t --replica-identity=full --schema-events -E now));
    $run->(csv => qw(-m initial_only -t t -F csv));
    $run->(check => qw(--check -t t -n public));
    $pg->sql($db, q(UPDATE t SET n = -n WHERE id = 'k7'; INSERT INTO leaf_of VALUES (1, 1); DELETE FROM t WHERE id = 'k8'));
    $run->(flink => qw(-m never -t t --schema-events -E now -e plain));
    $run->(whole => qw(--peek -e plain));
    $run->(whole => qw(-E now -e plain -f), "$dir/$db.whole", '--state', "$dir/$db.whole.json");
    return join '', (map { $_->[1]->out } @given), slurp("$dir/$db.whole");
}

# Without what differs from one database to another.
sub plain ($text) {
    return $text =~ s/quiet|hostile/DB/gr =~ s{[0-9A-F]+/[0-9A-F]+}{LSN}gr =~ s/"(ts\w*|type_oid|xid|txId|lsn|commit_lsn|sequence|xmin)":(?:"[^"]*"|\d+)/"$1":0/gr
        =~ s/(z{10})z+/$1/gr =~ s/"sequence":"(?:[^"\\]|\\.)*"/"sequence":0/gr =~ s/\d{4}-\d\d-\d\d[ T][\d:.]+(?:Z|[+]00)/TIME/gr =~ s/^(\+I,,,)\d*,/$1/mgr =~ s/^ok: \d+ of .*\n//mgr;
}

my $expected = plain(everything('quiet'));
hijack();
my $got = plain(everything('hostile'));
my ($one, $other) = ([split /\n/, $got], [split /\n/, $expected]);
my ($differs) = grep { ($one->[$_] // '') ne ($other->[$_] // '') } 0 .. $#$other;
is($differs, undef, 'the same from both databases') or diag("$one->[$differs]\n$other->[$differs]");
like($expected, qr/"feelings":\["sad","happy"\].*"n":"-7"/s, 'which is something');
ok(!$pg->log_contains(qr/ERROR:  hijacked/), 'none of the functions was called');
like($pg->sql('hostile', 'SELECT count(*) FROM pg_proc WHERE pronamespace = 2200'), qr/\A1\d\d\z/, 'of more than a hundred');

done_testing;
