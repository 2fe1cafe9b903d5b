# CSV: the header, PostgreSQL's quoting, what was not sent, and what cannot be in such a file.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;
use CdcTest::Formats;

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
$pg->create_db('shop');
my $dir = scratch();

sub sql ($text) { return $pg->sql('shop', $text) }
sub args ($slot, @args) { return (-S => $slot, qw(-m never -F csv --state), "$dir/$slot.json", @args) }
sub start ($slot, @args) { return Cdc->start(server => $pg, db => 'shop', args => [args($slot, @args)]) }
sub run ($slot, @args) { return start($slot, qw(-E now), @args)->wait }

# Lines without what is different each time: LSN, transaction, time.
sub plain ($bytes) { return decode_utf8($bytes) =~ s/^([-+][IUD]),\d*,(\d*),\d*,[\d:TZ.-]*,/$1,$2,/mgr }
sub copy_out ($query) {
    my $r = CdcTest::Process->capture(argv => [PgServer::bindir() . '/psql', '-XAtq', '-d', $pg->connstr('shop')], env => { PGCLIENTENCODING => 'UTF8' },
        input => encode_utf8("\\copy ($query) TO STDOUT (FORMAT csv)\n"));
    die $r->{err} if length $r->{err};
    return decode_utf8($r->{out});
}
my $meta = 'row_kind,commit_lsn,tx_seq,xid,ts';

# ---- the header ----

sql('CREATE TABLE h (id int PRIMARY KEY, v text); ALTER TABLE h REPLICA IDENTITY FULL');
{
    my $file = "$dir/h.csv";
    run('h', -t => 'h', '-f', $file)->exited(0, 'no changes');
    is(slurp($file), "$meta,id,v,_unchanged\n", 'the header alone');
    sql("INSERT INTO h VALUES (1, 'a')");
    run('h', -t => 'h', '-f', $file)->exited(0, 'a run');
    sql("UPDATE h SET v = '' WHERE id = 1; UPDATE h SET v = NULL, id = 2");
    run('h', -t => 'h', '-f', $file)->exited(0, 'another one');
    sql('DELETE FROM h');
    run('h', -t => 'h', '-f', $file)->exited(0, 'and another one');
    is(plain(slurp($file)), "$meta,id,v,_unchanged\n" . qq(+I,1,1,a,\n-U,1,1,a,\n+U,1,1,"",\n-U,1,1,"",\n+U,1,2,,\n-D,1,2,,\n), 'the header once, NULL and empty told apart');
    my @rows = csv(slurp($file));
    like("@{$rows[1]}[1, 2, 3, 4]", qr/\A\d+ 1 \d+ \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\z/, 'numbers and a time in the metadata');

    sql("INSERT INTO h VALUES (3, 'c')");
    run('piped', -t => 'h')->exited(0, 'a pipe: a slot');
    for my $n (4 .. 6) {
        sql("INSERT INTO h VALUES ($n, 'x')");
        my $r = run('piped', -t => 'h');
        is(plain($r->out), "$meta,id,v,_unchanged\n+I,1,$n,x,\n", 'a pipe: the header in each run');
    }
    is(run('piped', -t => 'h')->out, "$meta,id,v,_unchanged\n", 'a pipe: the header alone');
    # ">>" of a shell is a file that goes on
    for my $n (7, 8) {
        sql("INSERT INTO h VALUES ($n, 'x')");
        Cdc->run(server => $pg, db => 'shop', stdout => ">>$dir/appended", args => [args('piped', -t => 'h', -E => 'now')])->exited(0, "appended: run $n");
    }
    is(plain(slurp("$dir/appended")), "$meta,id,v,_unchanged\n+I,1,7,x,\n+I,1,8,x,\n", 'appended: the header once');
}

# Odd names of columns, in order, and none of those left out.
{
    my @odd = ('a,b', 'q"', "line\nfeed", ' ', 'ä', '_unchanged', 'row_kind', 'x' x 63, "cr\r", '\\.');
    sql('CREATE TABLE odd (id int PRIMARY KEY, ' . join(', ', map { '"' . s/"/""/gr . '" int' } @odd) . ', secret text)');
    run('odd', -t => 'odd', '--changelog-mode=upsert', '--exclude-column', 'public\.odd\.secret')->exited(0, 'odd names: a slot');
    sql('INSERT INTO odd VALUES (' . join(', ', 0 .. @odd) . ", 's')");
    my $r = run('odd', -t => 'odd', '--changelog-mode=upsert', '--exclude-column', 'public\.odd\.secret', '-f', "$dir/odd.csv");
    $r->exited(0, 'odd names: a run');
    my @rows = csv(decode_utf8(slurp("$dir/odd.csv")));
    is(canonical($rows[0]), canonical([split(/,/, $meta), 'id', @odd, '_unchanged']), 'odd names: as they are');
    is(join(' ', @{ $rows[1] }[5 .. 5 + @odd]), join(' ', 0 .. @odd), 'odd names: each with its value');
    sql('INSERT INTO odd VALUES (' . join(', ', map { $_ + 100 } 0 .. @odd) . ", 's')");
    run('odd', -t => 'odd', '--changelog-mode=upsert', '--exclude-column', 'public\.odd\.secret', '-f', "$dir/odd.csv")->exited(0, 'odd names: the file goes on');
    is(scalar(my @all = csv(slurp("$dir/odd.csv"))), 3, 'odd names: with one header');
}

# ---- quoting ----

# Each of these in a column of its own, as COPY has it between the metadata and _unchanged.
{
    my @texts = (undef, '', ' ', '  a  ', 'a,b', ',', '"', '""', 'say "hi"', "a\nb", "\n", "a\rb", "\r\n", "\t", '\\', '\\.', '\\N', "\\.\n", 'NULL', 'null', "'", ';', 'é😀',
        "\x{2028}", "\x01\x7f", 'x' x 9000, '"' x 5000, "end\n");
    my $literal = sub ($t) { return defined $t ? "E'" . ($t =~ s/([\\'])/\\$1/gr) . "'" : 'NULL' };
    sql('CREATE TABLE q (id int PRIMARY KEY, a text, b text); CREATE TABLE one (v text)');
    run('q', -t => 'q', '--changelog-mode=upsert')->exited(0, 'quoting: a slot');
    run('one', -t => 'one', '--changelog-mode=upsert')->exited(0, 'one column: a slot');
    sql(join '', map { 'INSERT INTO q VALUES (' . join(', ', $_, $literal->($texts[$_]), $literal->($texts[-$_])) . ');' } 0 .. $#texts);
    sql(join '', map { 'INSERT INTO one VALUES (' . $literal->($_) . ');' } @texts);
    for my $table (qw(q one)) {
        my $file = "$dir/$table.csv";
        run($table, -t => $table, '--changelog-mode=upsert', '-f', $file)->exited(0, "$table: a run");
        my $want = $table eq 'q' ? copy_out('SELECT id, a, b, NULL FROM q ORDER BY id') : copy_out('SELECT v, NULL FROM one ORDER BY ctid');
        my $have = plain(slurp($file)) =~ s/\A[^\n]*\n//r;
        $have =~ s/^\+I,1,//mg;
        ok($have eq $want, "$table: stream, byte by byte as COPY") or diag("$have\nnot\n$want");
        my $r = Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -F csv -t), $table]);
        $have = plain($r->out) =~ s/\A[^\n]*\n//r;
        $have =~ s/^\+I,,//mg;
        ok($have eq $want, "$table: rows, byte by byte as COPY") or diag("$have\nnot\n$want");
        sql(qq(CREATE TABLE back_$table (row_kind text, commit_lsn numeric, tx_seq int8, xid int8, ts timestamptz, LIKE $table, _unchanged text[])));
        my $copied = eval { sql("\\copy back_$table FROM '$file' (FORMAT csv, HEADER)\n"); 1 };
        ok($copied, "$table: COPY takes it back") or diag($@);
        my $columns = $table eq 'q' ? 'id, a, b' : 'v';
        is(sql("SELECT count(*) FROM ((SELECT $columns FROM $table EXCEPT ALL SELECT $columns FROM back_$table) UNION ALL (SELECT $columns FROM back_$table EXCEPT ALL SELECT $columns FROM $table)) x"), 0, "$table: equal rows");
        is(sql("SELECT count(*) FROM back_$table"), scalar @texts, "$table: all of them");
    }
}

# ---- upsert: what was not sent, keys that change ----

{
    sql(q(CREATE TABLE up (id int PRIMARY KEY, "b ""i"" g" text, v text); ALTER TABLE up ALTER "b ""i"" g" SET STORAGE EXTERNAL));
    my @args = (-t => 'up', '--changelog-mode=upsert', '-f', "$dir/up.csv");
    run('up', @args)->exited(0, 'upsert: a slot');
    sql(q(INSERT INTO up VALUES (1, repeat('x', 5000), 'a'); UPDATE up SET v = 'b'; UPDATE up SET id = 2; UPDATE up SET "b ""i"" g" = NULL; DELETE FROM up));
    run('up', @args)->exited(0, 'upsert: a run');
    my $big = 'x' x 5000;
    my $unchanged = q("{""b \""i\"" g""}");
    is(plain(slurp("$dir/up.csv")), qq($meta,id,"b ""i"" g",v,_unchanged\n+I,1,1,$big,a,\n+U,1,1,,b,$unchanged\n-D,1,1,,,\n+I,2,2,,b,$unchanged\n+U,1,2,,b,\n-D,1,2,,,\n),
        'upsert: updates without the old row, a value that was not sent by name, a new key as -D and +I');
    sql(q(CREATE TABLE back_up (row_kind text, commit_lsn numeric, tx_seq int8, xid int8, ts timestamptz, LIKE up, _unchanged text[])));
    sql("\\copy back_up FROM '$dir/up.csv' (FORMAT csv, HEADER)\n");
    is(sql(q(SELECT string_agg(array_to_string(_unchanged, '|'), ', ') FROM back_up)), 'b "i" g, b "i" g', 'upsert: which is the text of an array');
    my $all = run('up_all', '-t', 'up');
    $all->exited(2, 'all needs FULL');
    like($all->err, qr/^cdcdump: error: changelog mode "all" needs REPLICA IDENTITY FULL of every captured table\nDETAIL:  These have another one: public\.up\.\nHINT:  Set it with --replica-identity=full, or use --changelog-mode=upsert, or -e debezium/m, 'the table is named, and the ways out');
    run('up_full', '-t', 'up', '--replica-identity=full', '-f', "$dir/full.csv")->exited(0, 'one of the ways out');
    sql(q(INSERT INTO up VALUES (1, repeat('x', 5000), 'a'); UPDATE up SET v = 'b'));
    run('up_full', '-t', 'up', '-f', "$dir/full.csv")->exited(0, 'FULL: a run');
    is(plain(slurp("$dir/full.csv")), qq($meta,id,"b ""i"" g",v,_unchanged\n+I,1,1,$big,a,\n-U,1,1,$big,a,\n+U,1,1,$big,b,\n), 'FULL: the value comes from the old row');
}

# ---- one table ----

{
    sql('CREATE SCHEMA far; CREATE TABLE far.two (id int PRIMARY KEY); ALTER TABLE far.two REPLICA IDENTITY FULL');
    my $r = run('two', -t => '(h|two)');
    $r->exited(2, 'two tables: status 2');
    like($r->err, qr/^cdcdump: error: CSV has one table in an output, but 2 are captured\nDETAIL:  These are (public\.h, far\.two|far\.two, public\.h)\.\nHINT:  .*\{schema\}\.\{table\}.*-e debezium/m, 'two tables: named, and both ways out');
    is($r->out, '', 'two tables: nothing is written');
    run('any', -t => '(h|two)', '-e', 'debezium', '-f', "$dir/any.csv")->exited(0, 'two tables in the debezium envelope');
    sql(q(INSERT INTO h VALUES (10, 'a "b", c'); INSERT INTO far.two VALUES (11); UPDATE h SET v = NULL WHERE id = 10; DELETE FROM far.two; TRUNCATE h));
    run('any', -t => '(h|two)', '-e', 'debezium', '-f', "$dir/any.csv")->exited(0, 'debezium: a run');
    my @rows = csv(decode_utf8(slurp("$dir/any.csv")));
    is(join(',', @{ $rows[0] }), 'op,commit_lsn,tx_seq,xid,ts,schema,table,key,before,after', 'debezium: the header');
    is(join("\n", map { join ' ', map { $_ // '-' } @$_[0, 2, 5 .. 9] } @rows[1 .. $#rows]), join("\n",
        'c 1 public h {"id":10} - {"id":10,"v":"a \"b\", c"}', 'c 1 far two {"id":11} - {"id":11}',
        'u 1 public h {"id":10} {"id":10,"v":"a \"b\", c"} {"id":10,"v":null}', 'd 1 far two {"id":11} {"id":11} -', 't 1 public h - - -'), 'debezium: cells of JSON, truncations too');
}

# A truncation has no place in a changelog.
{
    run('h', -t => 'h', '-f', "$dir/h2.csv")->exited(0, 'truncate: up to now');
    sql("INSERT INTO h VALUES (1, 'a'); TRUNCATE h; INSERT INTO h VALUES (2, 'b')");
    my $r = run('h', -t => 'h', '-f', "$dir/h2.csv");
    $r->exited(0, 'truncate: status 0');
    is(scalar(() = $r->err =~ m{^cdcdump: warning: the truncation of table "public\.h" at [0-9A-F]+/[0-9A-F]+ is left out: }mg), 1, 'truncate: a warning') or diag($r->err);
    like(plain(slurp("$dir/h2.csv")), qr/^\+I,1,1,a,\n\+I,1,2,b,\n\z/m, 'truncate: what is around it is there');
    run('skip', -t => 'h', '--skip-ops=t')->exited(0, 'truncate, left out: a slot');
    sql('TRUNCATE h');
    $r = run('skip', -t => 'h', '--skip-ops=t');
    unlike($r->err, qr/warning/, 'truncate: no warning when it was to be left out');
}

# ---- columns that change ----

{
    sql('CREATE TABLE c (id int PRIMARY KEY, v text); ALTER TABLE c REPLICA IDENTITY FULL');
    run('c', -t => 'c', '-f', "$dir/c.1")->exited(0, 'columns: a slot');
    sql(q(INSERT INTO c VALUES (1, 'a'); ALTER TABLE c ADD w text; INSERT INTO c VALUES (2, 'b', 'new'); INSERT INTO c VALUES (3, 'c', 'new')));
    for my $try (1, 2) {
        my $r = run('c', -t => 'c', '-f', "$dir/c.1");
        $r->exited(6, "columns: status 6, $try");
        like($r->err, qr/the output cannot carry the columns of table "public\.c"/, 'columns: the table is named');
        is(plain(slurp("$dir/c.1")), "$meta,id,v,_unchanged\n+I,1,1,a,\n", 'columns: what came before is there, once');
    }
    run('c', -t => 'c', '-f', "$dir/c.2")->exited(0, 'columns: another file');
    is(plain(slurp("$dir/c.2")), "$meta,id,v,w,_unchanged\n+I,1,2,b,new,\n+I,1,3,c,new,\n", 'columns: with all the rest');
    # another type under the same name goes under the same header
    sql(q(ALTER TABLE c ALTER v TYPE varchar(5); INSERT INTO c VALUES (4, 'd', NULL)));
    run('c', -t => 'c', '-f', "$dir/c.2")->exited(0, 'columns: a type that changes');
    like(plain(slurp("$dir/c.2")), qr/^\+I,1,4,d,,\n\z/m, 'columns: is no change of the header');
    sql(q(ALTER TABLE c DROP w; INSERT INTO c VALUES (5, 'e')));
    my $piped = run('c', -t => 'c');
    $piped->exited(0, 'columns: a pipe begins with those of its first record');
    is(plain($piped->out), "$meta,id,v,_unchanged\n+I,1,5,e,\n", 'columns: of which it is the header');
    # within one transaction: no file of CSV can have it, so it says so, and what can
    sql(q(INSERT INTO c VALUES (6, 'f'); BEGIN; INSERT INTO c VALUES (7, 'g'); ALTER TABLE c ADD w int; INSERT INTO c VALUES (8, 'h', 8); COMMIT; INSERT INTO c VALUES (9, 'i', 9)));
    for my $n (1 .. 3) {
        my $r = run('c', -t => 'c', '-f', "$dir/within.$n");
        $r->exited(6, "columns that change within a transaction: status 6, $n");
        is(plain(slurp("$dir/within.$n")), $n == 1 ? "$meta,id,v,_unchanged\n+I,1,6,f,\n" : "$meta,id,v,_unchanged\n",
            "columns that change within a transaction: all before it, once, $n");
        my $way_out = qr/^HINT:  For a transaction that has rows before and after write to a file for each table, as in -f '\{schema\}\.\{table\}\.csv', or use -e debezium\.$/m;
        $n == 1 ? unlike($r->err, $way_out, 'columns that change within a transaction: it could be between two')
                : like($r->err, $way_out, "columns that change within a transaction: a way out is said, $n");
    }
    run('c', -t => 'c', '-f', "$dir/{table}.within")->exited(0, 'columns that change within a transaction: files of the table');
    is(join('', map { plain(slurp($_)) } "$dir/c.within", "$dir/c_1.within"), "$meta,id,v,_unchanged\n+I,1,7,g,\n$meta,id,v,w,_unchanged\n+I,2,8,h,8,\n+I,1,9,i,9,\n",
        'columns that change within a transaction: nothing missing, nothing twice');
}

# ---- files that cannot be continued ----

{
    sql('CREATE TABLE f (id int PRIMARY KEY); ALTER TABLE f REPLICA IDENTITY FULL');
    run('f', -t => 'f', '-f', "$dir/f.csv")->exited(0, 'another format: a slot');
    sql('INSERT INTO f VALUES (1)');
    run('f', -t => 'f', '-f', "$dir/f.csv")->exited(0, 'another format: CSV');
    my $before = slurp("$dir/f.csv");
    for my $case ([[qw(-F avro)], 'Avro'], [[qw(-e debezium)], 'the other envelope']) {
        sql('INSERT INTO f SELECT max(id) + 1 FROM f');
        my $r = run('f', -t => 'f', '-f', "$dir/f.csv", @{ $case->[0] });
        $r->exited(2, "another format: $case->[1]");
        like($r->err, qr/cannot be continued/, "another format: $case->[1], why");
        ok(slurp("$dir/f.csv") eq $before, "another format: $case->[1], nothing is written");
    }
    run('f', -t => 'f', '-f', "$dir/f.csv")->exited(0, 'another format: CSV again');
    is(plain(slurp("$dir/f.csv")), "$meta,id,_unchanged\n+I,1,1,\n+I,1,2,\n+I,1,3,\n", 'another format: all is there');
}

# ---- text that is not UTF-8 ----

{
    $pg->sql('postgres', q(CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0));
    $pg->sql('raw', q(CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x'), (2, E'a\\xff')));
    my $r = Cdc->run(server => $pg, db => 'raw', args => [-S => 'raw', qw(-m initial_only -F csv)]);
    $r->exited(1, 'not UTF-8: status 1');
    like($r->err, qr/could not write column "v" of table "public\.t".*: the value is not valid UTF-8/, 'not UTF-8: the column is named');
}

# ---- options ----

for my $case (
    [[qw(-e plain)], qr/invalid envelope for CSV: must be one of flink, debezium/],
    [[qw(-e debezium-0.9)], qr/invalid envelope for CSV: must be one of flink, debezium/],
    [['-K', '\t'], qr/-F csv and -K cannot be used together/],
    [['--tombstones'], qr/tombstones/],
    [['--types=debezium'], qr/-F csv -e flink and --types cannot be used together/],
    [['--set', 'decimal.handling.mode=double'], qr/-F csv -e flink and --set cannot be used together/],
    [[qw(-e debezium --changelog-mode=upsert)], qr/--changelog-mode needs -e flink/],
    [['--transactions'], qr/--transactions and -F csv cannot be used together/],
    [['--schema-events'], qr/--schema-events and -F csv cannot be used together/],
    [['--messages'], qr/--messages and -F csv cannot be used together/],
    [['--heartbeat=1'], qr/--heartbeat and -F csv cannot be used together/],
    [['--codec=null'], qr/--codec needs -F avro/],
) {
    my ($args, $message) = @$case;
    my $r = Cdc->run(args => [-S => 'x', qw(-F csv), @$args]);
    $r->exited(2, "@$args: status 2");
    like($r->err, $message, "@$args: why");
}

done_testing;
