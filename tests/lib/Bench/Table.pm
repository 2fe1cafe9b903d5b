# Bench::Table - readers of the rows of a table: a snapshot by cdcdump beside COPY by psql.
#
#   my $found = Bench::Table::compare($pg, $rows, @readers);    # as that of Bench::Backlog
#   Bench::Table::create($pg, 'a_database', $rows);    # table products, publication bench
#   my $mib = Bench::Table::peak_of_large($pg, $rows, $reader);    # peak with rows of 1 MiB
#
# A reader is {name, args => [options of cdcdump]} or {name, sql => COPY ...}, and beside and
# instructions as in Bench::Reader.  First each reader's rows are counted, by their keys: each has
# to come once.
package Bench::Table;
use v5.36;

use Bench qw(progress rounds part);
use Bench::Run;
use Bench::Workload;
use Cdc;
use PgServer;

sub compare ($pg, $rows, @readers) {
    my $few = part(1 / 20);
    create($pg, 'few', $few);
    my %instructions = map { $_->{name} => count_instructions($pg, $_, $few) }
        grep { $_->{instructions} } @readers;
    $pg->sql('postgres', 'DROP DATABASE few');
    create($pg, 'bench_table', $rows);
    my %bytes = map { $_->{name} => count($pg, $_, $rows) } @readers;
    my $runs = rounds(sub ($reader) { run($pg, $reader) }, @readers);
    my $size = $pg->sql('bench_table', "SELECT pg_size_pretty(pg_table_size('products'))");
    $pg->sql('postgres', 'DROP DATABASE bench_table');
    return { title => 'rows', detail => "of a table of 16 columns, $size", changes => $rows,
             runs => $runs, bytes => \%bytes, instructions => \%instructions, skipped => {} };
}

# Nothing is left to do for the server but to be read.
sub create ($pg, $db, $rows) {
    progress("a table of $rows rows");
    $pg->create_db($db);
    $pg->sql($db, Bench::Workload::products()
        . ($rows ? Bench::Workload::insert(Bench::Workload::series($rows)) : '') . <<~'SQL');
        CREATE PUBLICATION bench FOR TABLE products;
        VACUUM ANALYZE products;
        CHECKPOINT;
        SQL
}

sub argv ($reader, $pg, $db = 'bench_table') {
    my $server = $pg->connstr($db);
    my @psql = (PgServer::bindir() . '/psql', '-X', '-d', $server, '-c');
    my @cdcdump = ($Cdc::BINARY, '-q', '-d', $server, qw(-S bench_table --publication bench
        --publication-mode existing));
    return $reader->{sql} ? [@psql, $reader->{sql}] : [@cdcdump, @{ $reader->{args} }];
}

# A slot that stays would make something else of the next run.
sub run ($pg, $reader, $db = 'bench_table') {
    my $run = Bench::Run::timed($reader->{name}, argv($reader, $pg, $db), 'null');
    die "$reader->{name}: left its slot behind\n" if $pg->slot('bench_table');
    return $run;
}

# Bytes of a row.
sub count ($pg, $reader, $rows) {
    progress("counting: $reader->{name}");
    my $count = '$b += length; $n++; next unless /(?:"product_id":|\A)([0-9]+)/;'
        . '$keys++ unless vec $seen, $1, 1; vec($seen, $1, 1) = 1; END { print "$n $keys $b\n" }';
    my (undef, $line) = Bench::Run::into($reader->{name}, argv($reader, $pg), $^X, '-ne', $count);
    my ($lines, $keys, $bytes) = map { $_ || 0 } (split / /, $line)[0 .. 2];
    die "$reader->{name}: $lines rows with $keys keys, instead of $rows\n"
        if $lines != $rows || $keys != $rows;
    return $bytes / $rows;
}

# The program's start and end are what it takes with an empty table.
sub count_instructions ($pg, $reader, $rows) {
    progress("instructions: $reader->{name}");
    my $all = Bench::Run::instructions($reader->{name}, argv($reader, $pg, 'few'))
        // return undef;
    create($pg, 'none', 0);
    my $none = Bench::Run::instructions($reader->{name}, argv($reader, $pg, 'none'));
    $pg->sql('postgres', 'DROP DATABASE none');
    return ($all - $none) / $rows;
}

sub peak_of_large ($pg, $rows, $reader) {
    progress("memory: rows of 1 MiB, $reader->{name}");
    $pg->create_db('large');
    $pg->sql('large', <<~SQL);
        CREATE TABLE large (id serial PRIMARY KEY, body text NOT NULL);
        INSERT INTO large (body)
        SELECT repeat(md5(i::text), 32768) FROM generate_series(1, $rows) i;
        CREATE PUBLICATION bench FOR TABLE large;
        VACUUM ANALYZE large;
        SQL
    my $run = run($pg, $reader, 'large');
    $pg->sql('postgres', 'DROP DATABASE large');
    return $run->{rss};
}

1;
