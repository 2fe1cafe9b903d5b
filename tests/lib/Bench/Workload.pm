# Bench::Workload - what the changes are that are read.
#
#   my $w = Bench::Workload::named('narrow', $rows);
#   $w->{title}  $w->{detail}    for the report
#   $w->{create}      SQL: its tables
#   $w->{fill}        SQL: all of its changes, in as many transactions as there are
#   $w->{changes}     how many they are: inserts, updates and deletes
#   $w->{last}        SQL: one more change, which is not among them
#
# $rows is the size of the mixed one, of which the others take a part, so that each of them takes
# about as long as is worth while.  Tables are in schema public and have a primary key.
package Bench::Workload;
use v5.36;

use List::Util qw(max);

my %make = (mixed => \&mixed, 'one row' => \&one_row, bulk => \&bulk, wide => \&wide,
    narrow => \&narrow, TOAST => \&toast, 'many tables' => \&many_tables);

sub named ($name, $rows) {
    my $make = $make{$name} or die "no workload is named \"$name\"\n";
    return $make->($rows);
}

# The first table of the seed.
sub products ($name = 'products') {
    return <<~SQL;
        CREATE TABLE $name (
            product_id serial PRIMARY KEY, product_name varchar(200) NOT NULL,
            sku char(12) NOT NULL, description text, price numeric(10,2) NOT NULL,
            discount_price decimal(10,2), stock_quantity integer DEFAULT 0, weight real,
            volume double precision, dimensions box, release_date date,
            is_featured boolean DEFAULT false, rating float, warranty_period interval,
            metadata json, tags text[]);
        SQL
}

# Values like those of the seed's sample row, in all 16 columns, from the number i.
sub insert ($from, $table = 'products') {
    return <<~SQL;
        INSERT INTO $table (product_name, sku, description, price, discount_price,
            stock_quantity, weight, volume, dimensions, release_date, is_featured, rating,
            warranty_period, metadata, tags)
        SELECT 'Test Product ' || i, 'SKU-' || i, 'A piece of test product data, number ' || i,
            (i % 100000) / 100.0 + 1, (i % 100000) / 125.0 + 1, i % 1000, i % 977 / 10.0,
            i % 9973 / 100.0, box(point(i % 20, 20), point(30, i % 40)),
            date '2023-05-01' + i % 1000, i % 2 = 0, i % 50 / 10.0, make_interval(0, 0, 0, i % 700),
            json_build_object('brand', 'TechCo', 'model', 'X' || i % 100),
            ARRAY['Test' || i % 10, 'Test' || i % 7]
        FROM $from;
        SQL
}

sub series ($rows) { return "generate_series(1, $rows) AS numbers(i)" }

# A part of the rows, and never none.
sub some ($rows, $of) { return max(1, int($rows * $of)) }

# Transactions of one row; a statement with n in it.
sub loop ($count, $statement) {
    return <<~SQL;
        DO \$\$
        BEGIN
            FOR n IN 1 .. $count LOOP
                $statement
                COMMIT;
            END LOOP;
        END \$\$;
        SQL
}

sub single_rows ($count) { return loop($count, insert('(SELECT n) AS one(i)')) }

sub mixed ($rows) {
    my ($half, $fifth, $singles) = map { some($rows, $_) } 1 / 2, 1 / 5, 2 / 5;
    my $deleted = $rows - $fifth;
    return {
        title => 'mixed changes', detail => 'large and one-row transactions',
        changes => $rows + $half + $fifth + $singles,
        create => products(), last => 'DELETE FROM products WHERE product_id = 1',
        fill => insert(series($rows)) . <<~SQL . single_rows($singles),
            UPDATE products SET price = price + 1, stock_quantity = stock_quantity - 1
            WHERE product_id <= $half;
            DELETE FROM products WHERE product_id > $deleted;
            SQL
    };
}

sub one_row ($rows) {
    my $count = some($rows, 1 / 5);
    return {
        title => 'one-row transactions', detail => '16 columns', changes => $count,
        create => products(), last => 'DELETE FROM products WHERE product_id = 1',
        fill => single_rows($count),
    };
}

sub bulk ($rows) {
    my $count = some($rows, 2 / 5);
    return {
        title => 'bulk', detail => 'one insert, 16 columns', changes => $count,
        create => products(), last => 'DELETE FROM products WHERE product_id = 1',
        fill => insert(series($count)),
    };
}

# A third each of the columns are numbers, texts and times.
sub wide ($rows) {
    my ($count, $half) = (some($rows, 1 / 25), some($rows, 1 / 50));
    my $columns = join ', ', map { "n$_ int, s$_ text, t$_ timestamp" } 1 .. 33;
    my $values = join ', ',
        map { "i + $_, 'text ' || i % $_, timestamp '2026-01-01' + i * interval '$_ s'" } 1 .. 33;
    return {
        title => 'wide rows', detail => '100 columns', changes => $count + $half,
        last => 'DELETE FROM wide WHERE id = 1',
        create => "CREATE TABLE wide (id int PRIMARY KEY, $columns);\n",
        fill => <<~SQL,
            INSERT INTO wide SELECT i, $values FROM @{[series($count)]};
            UPDATE wide SET n1 = n1 + 1 WHERE id <= $half;
            SQL
    };
}

sub narrow ($rows) {
    my ($count, $half) = (some($rows, 2 / 5), some($rows, 1 / 5));
    return {
        title => 'narrow rows', detail => '2 integers', changes => $count + $half,
        last => 'DELETE FROM narrow WHERE id = 1',
        create => "CREATE TABLE narrow (id int PRIMARY KEY, n int);\n",
        fill => <<~SQL,
            INSERT INTO narrow SELECT i, i FROM @{[series($count)]};
            UPDATE narrow SET n = n + 1 WHERE id <= $half;
            SQL
    };
}

# Values of 32 kB out of line, then updates that leave them as they are.
sub toast ($rows) {
    my $count = some($rows, 1 / 500);
    return {
        title => 'TOAST', detail => '1 insert of 32 kB, 20 updates beside it',
        changes => 21 * $count,
        last => 'DELETE FROM toasted WHERE id = 1',
        create => <<~SQL,
            CREATE TABLE toasted (id int PRIMARY KEY, x int, body text);
            ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL;
            SQL
        fill => <<~SQL . loop(20, 'UPDATE toasted SET x = x + 1;'),
            INSERT INTO toasted SELECT i, 0, repeat(md5(i::text), 1024) FROM @{[series($count)]};
            SQL
    };
}

# Ten rows a transaction, each of another one of 500 tables.
sub many_tables ($rows) {
    my $count = some($rows, 1 / 50);
    my $insert = q[EXECUTE format('INSERT INTO %I VALUES (%s, ''a name'', %s)',
        'many_' || (n * 10 + k) % 500, n, k);];
    return {
        title => '500 tables', detail => '10 of them in a transaction', changes => 10 * $count,
        last => 'INSERT INTO many_0 VALUES (0)',
        create => join('', map { "CREATE TABLE many_$_ (id int PRIMARY KEY, name text, n int);\n" }
            0 .. 499),
        fill => loop($count, "FOR k IN 0 .. 9 LOOP $insert END LOOP;"),
    };
}

1;
