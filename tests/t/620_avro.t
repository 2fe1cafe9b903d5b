# Avro: container files that are continued, and begun anew where columns change; pipes; unions.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;
use CdcTest::Formats;

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
$pg->create_db('shop');
my $dir = scratch();

sub sql ($text) { return $pg->sql('shop', $text) }
sub start ($slot, @args) {
    return Cdc->start(server => $pg, db => 'shop', args => [-S => $slot, qw(-m never -F avro -e plain --state), "$dir/$slot.json", @args]);
}
sub run ($slot, @args) { return start($slot, qw(-E now), @args)->wait }

# "c1 u1 d1": operations and ids.
sub story (@records) { return join ' ', map { $_->{op} . ($_->{row} // $_->{old} // $_->{key})->{id} } @records }

# What a file holds, by one reader, and by the other one where it has the codec.
sub tells ($path, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(eval { story(avro($path)) } // $@, $want, "$name: Python reads it");
    return if container($path)->{codec} eq 'zstandard' || !has_avrocat();
    is(eval { story(avrocat($path)) } // $@, $want, "$name: avrocat reads it");
}

# ---- codecs, and files that are continued ----

my $id = 0;
sql('CREATE TABLE t (id int PRIMARY KEY, n numeric(10,2), v text)');
for my $codec (qw(default null deflate zstandard snappy)) {
    my ($slot, $file) = ("c_$codec", "$dir/$codec.avro");
    my @args = ('-f', $file, $codec eq 'default' ? () : "--codec=$codec", -t => 't');
    run($slot, @args)->exited(0, "$codec: nothing yet");
    my $empty = container($file);
    is($empty->{codec}, $codec eq 'default' ? 'deflate' : $codec, "$codec: the codec");
    is(scalar @{ $empty->{blocks} }, 0, "$codec: no blocks");
    tells($file, '', "$codec, empty");
    my @want;
    my $first = '';
    for my $round (1 .. 3) {
        my $a = ++$id;
        my $b = ++$id;
        sql("INSERT INTO t VALUES ($a, $a, 'x'), ($b, 1.5, repeat('long ', 200)); UPDATE t SET v = 'y' WHERE id = $a; DELETE FROM t WHERE id = $b");
        push @want, "c$a", "c$b", "u$a", "d$b";
        my $before = slurp($file);
        run($slot, @args)->exited(0, "$codec: run $round");
        my $after = slurp($file);
        # one with a head alone may be begun anew
        $first ||= substr $after, 0, container($file)->{head};
        ok(length $after > length $before && ($round == 1 || substr($after, 0, length $before) eq $before), "$codec: run $round goes on behind what was there");
    }
    my $c = container($file);    # dies of a second head or another marker
    ok(substr(slurp($file), 0, $c->{head}) eq $first, "$codec: the head is that of the first run");
    cmp_ok(scalar @{ $c->{blocks} }, '>=', 3, "$codec: blocks of each run");
    tells($file, "@want", $codec);
    my $length = -s $file;
    run($slot, @args)->exited(0, "$codec: nothing more");
    is(-s $file, $length, "$codec: nothing is written for nothing");
}

# Blocks are of some size where much comes at once, and made of what is there where somebody waits.
{
    run('size', '-t', 't', '-f', "$dir/size.avro")->exited(0, 'a slot');
    sql("INSERT INTO t SELECT g, 1, repeat(md5(g::text), 10) FROM generate_series(100000, 109999) g");
    run('size', '-t', 't', '-f', "$dir/size.avro", '--codec=deflate')->exited(0, 'much at once');
    my @blocks = @{ container("$dir/size.avro")->{blocks} };
    my $records = 0;
    $records += $_->{count} for @blocks;
    is($records, 10_000, 'all records are counted');
    cmp_ok(scalar @blocks, '<', 80, 'in few blocks');
    cmp_ok(scalar @blocks, '>', 10, 'but not in one');
    sql('DELETE FROM t WHERE id >= 100000');
    my $c = start('size', '-t', 't', '-f', "$dir/size.avro");
    sql("INSERT INTO t VALUES (99999, 1, 'soon')");
    wait_until(sub { eval { (avro("$dir/size.avro"))[-1]{row}{id} // 0 } // 0 == 99999 }, 30, 'the record of a run that goes on');
    $c->wait_handler('INT');
    $c->stop->exited(0, 'a run that goes on is stopped');
}

# What cannot be continued is left alone.
for my $case (['another codec', [qw(--codec=null)], "$dir/deflate.avro", 'c_deflate', qr/cannot be continued: its blocks have another codec/],
    ['another envelope', [qw(--codec=deflate -e debezium)], "$dir/deflate.avro", 'c_deflate', qr/cannot be continued|cannot carry/]) {
    my ($name, $args, $file, $slot, $message) = @$case;
    my $before = slurp($file);
    sql('INSERT INTO t VALUES (' . ++$id . ", 1, 'x')");
    my $r = run($slot, '-t', 't', '-f', $file, @$args);
    ok(($r->exit // -1) == 2 || ($r->exit // -1) == 6, "$name: refused") or diag($r->describe);
    like($r->err, $message, "$name: why");
    is(slurp($file) eq $before ? 1 : 0, 1, "$name: the file is as it was");
}
run('c_deflate', '-t', 't', '-f', "$dir/deflate.avro", '--codec=deflate')->exited(0, 'the codec that it has');
like(story(avro("$dir/deflate.avro")), qr/ c$id\z/, 'nothing is missing after that');

# ---- pipes ----

{
    sql('CREATE TABLE p (id int PRIMARY KEY, v text)');
    run('pipe', '-t', 'p')->exited(0, 'pipe: a slot');
    for my $n (1 .. 3) {
        sql("INSERT INTO p VALUES ($n, 'x')");
        my $r = run('pipe', '-t', 'p', '--codec=null');
        $r->exited(0, "pipe: run $n");
        is(story(avro_bytes($r->out)), "c$n", "pipe: run $n is a whole file with what is new");
    }
    my $r = run('pipe', '-t', 'p');
    is(length $r->out ? scalar avro_bytes($r->out) // 0 : 'nothing', 0, 'pipe: without changes an empty file');
}

# What one output cannot carry the next run brings, whatever it takes; each a whole file.
for my $case (
    ['after', q(INSERT INTO T VALUES (1); ALTER TABLE T ADD w int; INSERT INTO T VALUES (2, 2); ALTER TABLE T DROP w; INSERT INTO T VALUES (3); ALTER TABLE T ADD x date; INSERT INTO T VALUES (4))],
    ['within', q(INSERT INTO T VALUES (1); BEGIN; INSERT INTO T VALUES (2); ALTER TABLE T ADD w int; INSERT INTO T VALUES (3, 2); ALTER TABLE T DROP w; INSERT INTO T VALUES (4); COMMIT; ALTER TABLE T ADD x date)],
) {
    my ($name, $statements) = @$case;
    sql("CREATE TABLE p_$name (id int PRIMARY KEY)");
    run("pipe_$name", '-t', "p_$name")->exited(0, "pipe, $name: a slot");
    sql($statements =~ s/\bT\b/p_$name/gr);
    my ($status, %seen, @order) = (6);
    for my $n (1 .. 6) {
        my $r = run("pipe_$name", '-t', "p_$name");
        $status = $r->exit;
        my @records = eval { length $r->out ? avro_bytes($r->out) : () };
        is($@, '', "pipe, $name: run $n is a whole file, with status $status");
        push @order, map { $seen{"$_->{commit_lsn} $_->{seq}"}++ ? () : $_ } @records;
        last if $status != 6;
    }
    is($status, 0, "pipe, $name: the last run");
    is(story(@order), 'c1 c2 c3 c4', "pipe, $name: all is there, in order");
}

# ---- several tables ----

{
    sql(q(CREATE SCHEMA other; CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, w date); CREATE TABLE other.a (id int PRIMARY KEY, v text, x float8)));
    for my $envelope (qw(debezium flink plain)) {
        my @args = (-t => '(a|b)', -e => $envelope, $envelope eq 'flink' ? '--changelog-mode=upsert' : (), '-f', "$dir/union.$envelope");
        run("u_$envelope", @args)->exited(0, "union, $envelope: a slot");
    }
    sql(q(INSERT INTO a VALUES (1, 'x'); INSERT INTO b VALUES (2, '2020-01-02'); INSERT INTO other.a VALUES (3, 'y', 1.5); INSERT INTO b VALUES (4, NULL); INSERT INTO a VALUES (5, 'z')));
    for my $envelope (qw(debezium flink plain)) {
        my @args = (-t => '(a|b)', -e => $envelope, $envelope eq 'flink' ? '--changelog-mode=upsert' : (), '-f', "$dir/union.$envelope");
        run("u_$envelope", @args)->exited(0, "union, $envelope: a run");
        my $path = "$dir/union.$envelope";
        is(ref container($path)->{schema}, 'ARRAY', "union, $envelope: that it is");
        my $of = sub (@records) {
            return join ' ', map { my $s = $_->{source} // $_; my $row = $_->{after} // $_->{row};
                ($s->{schema} // $s->{schema_name}) . '.' . ($s->{table} // $s->{table_name}) . ":$row->{id}" . join '', map { ",$_" } grep { $_ ne 'id' } sort keys %$row } @records;
        };
        my $want = 'public.a:1,v public.b:2,w other.a:3,v,x public.b:4,w public.a:5,v';
        is(eval { $of->(avro($path)) } // $@, $want, "union, $envelope: Python reads it");
        SKIP: {
            skip_without(has_avrocat(), 'avrocat is not installed');
            is(eval { $of->(avrocat($path)) } // $@, $want, "union, $envelope: avrocat reads it");
        }
    }
}

# ---- columns that change ----

# Statements around a change of columns, of which the first file has $first, and further ones the rest.
sub changes ($name, $statements, $first, $rest) {
    my $slot = $name =~ s/\W/_/gr;
    my $table = "t_$slot";
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    sql("CREATE TABLE $table (id int PRIMARY KEY, v text, n int); ALTER TABLE $table REPLICA IDENTITY FULL");
    my @files = ("$dir/$slot.1");
    run($slot, -t => $table, '-f', $files[0])->exited(0, "$name: a slot");
    # a file with a head alone may be begun anew
    sql("INSERT INTO $table VALUES (0, 'first', 0)");
    run($slot, -t => $table, '-f', $files[0])->exited(0, "$name: a file that has begun");
    sql("INSERT INTO $table VALUES (1, 'before', 1)");
    sql($statements =~ s/\bT\b/$table/gr);
    my $r = run($slot, -t => $table, '-f', $files[0]);
    $r->exited(6, "$name: status 6");
    like($r->err, qr/^cdcdump: error: the output cannot carry the columns of table "public\.$table"/m, "$name: the table is named");
    tells($files[0], $first, "$name: whole transactions before it");
    my @more;
    while (@files < 5) {
        push @files, "$dir/$slot." . (1 + @files);
        $r = run($slot, -t => $table, '-f', $files[-1]);
        # a run that could accept nothing leaves it empty
        push @more, eval { -s $files[-1] ? avro($files[-1]) : () };
        is($@, '', "$name: further file " . $#files);
        last if $r->exit != 6;
    }
    $r->exited(0, "$name: the last run");
    is(story(@more), $rest, "$name: the rest is in new files");
    # and the run after that goes on in the last one
    return if $r->exit != 0;
    sql("DELETE FROM $table WHERE id = 1");
    run($slot, -t => $table, '-f', $files[-1])->exited(0, "$name: once more");
    like(story(avro($files[-1])), qr/d1\z/, "$name: the last file goes on");
    return map { [avro($_)] } @files;
}

{
    my @f = changes('added', q(ALTER TABLE T ADD w text; INSERT INTO T VALUES (2, 'x', 2, 'new'); UPDATE T SET v = 'u' WHERE id = 1), 'c0 c1', 'c2 u1');
    is($f[1][0]{row}{w}, 'new', 'added: the new column is there');
    ok(!exists $f[0][0]{row}{w}, 'added: but not before');
    @f = changes('dropped', q(ALTER TABLE T DROP v; INSERT INTO T VALUES (2, 2)), 'c0 c1', 'c2');
    ok(!exists $f[1][0]{row}{v}, 'dropped: it is not there any more');
    @f = changes('retyped', q(ALTER TABLE T ALTER n TYPE numeric(5,1); INSERT INTO T VALUES (2, 'x', 2.5)), 'c0 c1', 'c2');
    is($f[1][0]{row}{n}, '2.5', 'retyped: as the new type');
    @f = changes('renamed', q(ALTER TABLE T RENAME v TO vv; INSERT INTO T VALUES (2, 'x', 2)), 'c0 c1', 'c2');
    is($f[1][0]{row}{vv}, 'x', 'renamed: by the new name');
    changes('within', q(BEGIN; INSERT INTO T VALUES (2, 'x', 2); ALTER TABLE T ADD w text; INSERT INTO T VALUES (3, 'x', 3, 'new'); COMMIT; INSERT INTO T VALUES (4, 'x', 4, 'new')), 'c0 c1', 'c2 c3 c4');
    changes('within dropped', q(BEGIN; INSERT INTO T VALUES (2, 'x', 2); ALTER TABLE T DROP v; INSERT INTO T VALUES (3, 3); COMMIT; INSERT INTO T VALUES (4, 4)), 'c0 c1', 'c2 c3 c4');
    changes('within twice', q(BEGIN; INSERT INTO T VALUES (2, 'x', 2); ALTER TABLE T ADD w text; INSERT INTO T VALUES (3, 'x', 3, 'new'); ALTER TABLE T DROP w; INSERT INTO T VALUES (4, 'x', 4); COMMIT), 'c0 c1', 'c2 c3 c4');
    changes('within, and behind', q(BEGIN; INSERT INTO T VALUES (2, 'x', 2); ALTER TABLE T ADD w text; INSERT INTO T VALUES (3, 'x', 3, 'new'); COMMIT; ALTER TABLE T ADD w2 text; INSERT INTO T VALUES (4, 'x', 4)), 'c0 c1', 'c2 c3 c4');
    changes('within much', q(BEGIN; INSERT INTO T SELECT g, repeat(md5(g::text), 100), g FROM generate_series(2, 200) g; ALTER TABLE T ADD w text; INSERT INTO T VALUES (500, 'x', 3, 'new'); COMMIT), 'c0 c1', join(' ', map { "c$_" } 2 .. 200, 500));
    changes('within much, and behind', q(BEGIN; INSERT INTO T SELECT g, repeat(md5(g::text), 100), g FROM generate_series(2, 200) g; ALTER TABLE T ADD w text; INSERT INTO T VALUES (500, 'x', 3, 'new'); COMMIT; ALTER TABLE T ADD w2 text), 'c0 c1', join(' ', map { "c$_" } 2 .. 200, 500));
}

done_testing;
