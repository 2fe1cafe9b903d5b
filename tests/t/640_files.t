# Several output files: names, what begins and what completes them, and that a complete one is never
# touched again.  Kills: 645_files_kill.t and two more; failures: 647_files_limits.t.
use v5.36;
use CdcTest;
use CdcTest::Formats;
use Digest::MD5 ();
use Encode qw(encode_utf8);
use File::Find ();
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40, autovacuum => 'off' });
my $top = scratch();
my ($began, $part) = (time, 'start');
sub lap ($next) { note sprintf '%s: %.1f s', $part, time - $began; ($began, $part) = (time, $next) }

# A folder of its own for each part, and the slot of that name.
my $dir;
sub part ($name) {
    lap($name);
    $dir = "$top/$name";
    mkdir $dir or die "$dir: $!";
}

my @quick = ('--status-interval' => '0.2', '--retry-delay' => '0.1');
sub args ($slot, @more) { return [-S => $slot, '-v', '-e' => 'plain', '--state' => "$top/$slot.json", @quick, @more] }
sub start ($db, $slot, @more) { return Cdc->start(server => $pg, db => $db, stdout => 'null', args => args($slot, @more)) }
sub run ($db, $slot, @more) { return start($db, $slot, @more)->wait }
sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }
sub state_of ($slot) { return JSON::PP->new->decode(slurp("$top/$slot.json")) }

# ---- looking at files ----

# Every file below the folder of the part, or another one, as bytes of its name relative to it.
sub files ($in = $dir) {
    my @found;
    File::Find::find({ no_chdir => 1, wanted => sub { push @found, substr $_, 1 + length $in if -l || !-d _ } }, $in);
    return sort @found;
}

my %seen;    # path -> inode, size, digest

# All files; whoever looks sees to it that those that are complete are what they were.
sub look ($in = $dir) {
    my (@now, @wrong) = files($in);
    for my $path (grep { -e } map { "$in/$_" } grep { !/\.partial\z/ } @now) {
        my @stat = stat $path;
        my $is = join ' ', @stat[1, 7, 9], Digest::MD5::md5_hex(slurp($path));
        push @wrong, "$path was $seen{$path}, is $is" if ($seen{$path} //= $is) ne $is;
    }
    push @wrong, map { "$_ has gone" } grep { m{\A\Q$in\E/} && !-e } keys %seen;
    is(join("\n", @wrong), '', 'complete files stay as they are') if @wrong;
    return @now;
}

sub await_files ($check, $what, $timeout = 30) { wait_until(sub { $check->(look()) }, $timeout, $what) }

# All of a file's ids of that table, in their order; of Avro by libavro, which is fast.
sub ids ($path, $table) {
    my $text = slurp($path);
    $text = CdcTest::Process->capture(argv => ['avrocat', $path])->{out} if $text =~ /\AObj\x01/;
    return map { /"table": ?"\Q$table\E".*"row": ?\{(?:"Value": \{)?"id": ?(?:\{"int": )?(\d+)/ ? $1 : () } split /\n/, $text;
}

# Their records, file by file in order of names, as name => gist.
sub gists ($in = $dir) { return { map { $_ => gist(slurp("$in/$_")) } files($in) } }

# ---- options ----

part('options');
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY, v text)');
{
    my @wrong = (
        [['-f', '{tables}'], qr/unknown placeholder "\{tables\}".*\n.*HINT:.*\{schema\}, \{table\}, \{topic\}, \{lsn\} and \{date\}/],
        [['-f', 'a{'], qr/unknown placeholder "\{"/],
        [['-f', '{table}}'], qr/unknown placeholder "\}"/],
        [['-f', '{Table}'], qr/unknown placeholder "\{Table\}"/],
        [['-f', '{}'], qr/unknown placeholder "\{\}"/],
        [['-f', 'plain', '--rotate', '10'], qr/--rotate needs placeholders/],
        [['--rotate', '10'], qr/--rotate needs placeholders/],
        (map { [['-f', '{table}', '--rotate', $_], qr/invalid rotation "\Q$_\E": must be a number of seconds, or a size in B, kB, MB, GB or TB/] }
            '', '0', '-1', 'x', '10 parrots', '10mb', '0MB', '-1kB', '0.1B', 'nan', 'inf', 'infMB', 'nankB', '1e300', '1e18MB', '1e9', '10MBB', 'MB', '0.0000001'),
        [['-f', '{table}', '--transactions'], qr/--transactions and placeholders in -f cannot be used together/],
        [['-f', '{table}', '--schema-events'], qr/--schema-events and placeholders/],
        [['-f', '{table}', '--messages'], qr/--messages and placeholders/],
        [['-f', '{lsn}', '--heartbeat', '1'], qr/--heartbeat and placeholders/],
        [['-f', '{table}', '--ack-mode', 'read'], qr/ack mode "read" needs a pipe/],
        [['-f', '{table}/'], qr/error: .*\{table\}\//],
    );
    for my $case (@wrong) {
        my ($more, $regex) = @$case;
        my $r = Cdc->run(server => $pg, db => 'shop', args => [qw(-S o -m never -E now), @$more], cwd => $dir, timeout => 20);
        ok(defined $r->exit && $r->exit == 2 && $r->err =~ $regex, "exit 2: @$more") or diag($r->describe);
    }
    is_deeply([files()], [], 'and no file');
    $pg->sql('shop', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'o'));
    for my $good ('1', '0.5', '1e3', '999999999', '1B', '0.5kB', '10MB', '1.5GB', '1TB') {
        my $r = Cdc->run(server => $pg, db => 'shop', args => [qw(-S o -m initial_only -f), "$dir/{table}", '--rotate', $good]);
        $r->exited(0, "--rotate=$good");
    }
}

# ---- names ----

part('names');
{
    $pg->sql('postgres', q(CREATE DATABASE names ENCODING 'UTF8' TEMPLATE template0));
    my %odd = (    # table => name of the file, of the topic
        'plain'            => ['plain', 'plain'],
        'a/b'              => ['a%2Fb', 'a_b'],
        'a%2Fb'            => ['a%252Fb', 'a_2Fb'],
        'a b'              => ['a b', 'a_b'],
        '/'                => ['%2F', '_'],
        '..'               => ['%2E.', '..'],
        '.'                => ['%2E', '.'],
        '.hidden'          => ['%2Ehidden', '.hidden'],
        'x..'              => ['x..', 'x..'],
        '100%'             => ['100%25', '100_'],
        '%s%n'             => ['%25s%25n', '_s_n'],
        "a\nb\t\x01\x7f"   => ['a%0Ab%09%01%7F', 'a_b___'],
        "\x{fc}\x{20ac}\x{1f600}" => ["\x{fc}\x{20ac}\x{1f600}", '_________'],
        '{table}'          => ['{table}', '_table_'],
        '{lsn}'            => ['{lsn}', '_lsn_'],
        'T'                => ['T', 'T'],
        '-rf'              => ['-rf', '-rf'],
        q("'\\*?$`)        => [q("'\\*?$`), '_______'],
        'x' x 63           => ['x' x 63, 'x' x 63],
        "\x{fc}" x 31      => ["\x{fc}" x 31, '_' x 62],
        '/' x 63           => ['%2F' x 63, '_' x 63],
        't.partial'        => ['t.partial', 't.partial'],
        't'                => ['t', 't'],
    );
    my $quote = sub ($name) { '"' . $name =~ s/"/""/gr . '"' };
    $pg->sql('names', join ';', map { 'CREATE TABLE ' . $quote->($_) . " (id int); INSERT INTO " . $quote->($_) . ' VALUES (1)' } sort keys %odd);
    my $day = sub { my @t = gmtime; sprintf '%04d-%02d-%02d', $t[5] + 1900, $t[4] + 1, $t[3] };
    my $before = $day->();
    my $r = Cdc->run(server => $pg, db => 'names', cwd => $dir,
        args => ['-S', 'n', '-m', 'initial', '-E', 'now', '-e', 'plain', '--server-name', 'S/../1', '--state', "$top/n.json", '-f', 'all/{table}/{date}_{schema}_{topic}_{lsn}.x']);
    $r->exited(0, 'tables with odd names');
    my @dates = ($before, $day->());
    my $lsn;
    my (%have, @wrong);
    for my $file (look()) {
        my ($table, $date, $topic, $at) = $file =~ m{\Aall/([^/]+)/([0-9-]{10})_public_(.*)_([0-9A-F]{16})\.x\z}s or push(@wrong, $file), next;
        push @wrong, $file unless grep { $_ eq $date } @dates;
        $lsn //= $at;
        push @wrong, $file if $at ne $lsn;
        $have{$table} = $topic;
        my ($record) = records(slurp("$dir/$file"));
        my ($of) = grep { encode_utf8($odd{$_}[0]) eq $table } keys %odd;
        push @wrong, "$file: another table's" unless defined $of && $record->{table} eq $of;
    }
    is_deeply(\@wrong, [], 'each part of the names is what it should be');
    is_deeply(\%have, { map { encode_utf8($odd{$_}[0]) => "S_.._1.public.$odd{$_}[1]" } keys %odd }, 'tables and topics are');
    is(lsn_num(state_of('n')->{lsn}) >= hex $lsn, 1, 'as is the LSN');
    is(state_of('n')->{files}, undef, 'nothing is left in the state file');

    # One name for all: none is replaced.
    part('one_name');
    spew("$dir/r.x", "mine\n");
    spew("$dir/r.x_1.partial", "mine, too\n");
    symlink 'nowhere', "$dir/r.x_2" or die $!;
    run('names', 'same', '-m' => 'initial', -E => 'now', -T => '(t|plain)', -f => "$dir/{date}.x", '--server-name' => 'r')->exited(0, 'one file');
    is(scalar(look()), 4, 'of all tables') or diag(files());
    run('names', 'one', '-m' => 'initial', -E => 'now', -t => '(a/b|a b)', -f => "$dir/r.x{schema}", '--server-name' => 'r')->exited(0, 'two tables, one name');
    is_deeply([grep { /xpublic/ } files()], [qw(r.xpublic r.xpublic_1)], 'two files');
    run('names', 'two', '-m' => 'initial', -E => 'now', -t => '(a/b|a b)', -f => "$dir/{topic}", '--server-name' => 'r')->exited(0, 'two tables, one topic');
    is_deeply([grep { /^r\.public/ } files()], [qw(r.public.a_b r.public.a_b_1)], 'two files');
    $pg->sql('names', 'CREATE SCHEMA r; CREATE TABLE r.x (id int); INSERT INTO r.x VALUES (7)');
    run('names', 'three', '-m' => 'initial', -E => 'now', -t => 'r\.x', -f => "$dir/{schema}.{table}")->exited(0, 'a name that is taken');
    is(slurp("$dir/r.x"), "mine\n", 'what was there stays');
    is(slurp("$dir/r.x_1.partial"), "mine, too\n", 'also as .partial');
    is(readlink "$dir/r.x_2", 'nowhere', 'also a dangling link');
    is(gist(slurp("$dir/r.x_3")), 'r7', 'another number is taken');

    # t.partial is the name under way of t, and the name of a table.
    part('partial');
    for my $n (1, 2) {
        my $c = streaming(start('names', "p$n", '-m' => 'never', -t => '(t|t\.partial)', -f => "$dir/{table}"));
        my @tables = ('t', '"t.partial"');
        for my $table ($n == 1 ? @tables : reverse @tables) {
            $pg->sql('names', "INSERT INTO $table VALUES (10 + $n)");
            $c->wait_written($pg->wal_lsn);
        }
        $c->stop->exited(0, "a table t.partial beside t, $n");
    }
    my @contents = map { slurp("$dir/$_") } look();
    is_deeply([sort map { my @r = records($_); map { "$_->{table} $_->{row}{id}" } @r } @contents],
        ['t 11', 't 12', 't.partial 11', 't.partial 12'], 'both have their files');
}

# A database in which names have no encoding: one is UTF-8 by chance, others are not.
part('bytes');
{
    $pg->sql('postgres', q(CREATE DATABASE bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0));
    my %names = ('fc61' => '%FCa', 'c3bc38' => "\xc3\xbc8", 'c3bcfc' => '%C3%BC%FC', 'c0af' => '%C0%AF');
    for my $hex (sort keys %names) {
        $pg->sql('bytes', "SET client_encoding = 'SQL_ASCII'; DO \$\$ BEGIN
            EXECUTE 'CREATE TABLE \"' || convert_from('\\x$hex'::bytea, 'SQL_ASCII') || '\" (id int PRIMARY KEY)';
            EXECUTE 'INSERT INTO \"' || convert_from('\\x$hex'::bytea, 'SQL_ASCII') || '\" VALUES (1)'; END \$\$");
    }
    my $r = run('bytes', 'b', '-m' => 'initial', -E => 'now', -f => "$dir/{schema}.{table}.x");
    $r->exited(0, 'names that are not UTF-8');
    is_deeply([look()], [sort map { "public.$_.x" } values %names], 'are escaped') or diag($r->describe);
    is(scalar(grep { gist(slurp("$dir/$_")) eq 'r1' } files()), 4, 'each has its row');
}

# ---- begin and end ----

part('live');
{
    my $f = "$dir/new/folder/{schema}/{table}.x";
    my $s = $pg->session('shop');
    my $c = streaming(start('shop', 'live', '-m' => 'never', -f => $f));
    is_deeply([look()], [], 'no record, no file');
    ok(!-e "$dir/new", 'and no folder');
    $s->sql('CHECKPOINT');
    $s->sql("INSERT INTO t VALUES (1, 'a')");
    await_files(sub (@f) { "@f" eq 'new/folder/public/t.x.partial' && -s "$dir/@f" }, 'the file is begun and written to');
    $s->sql("INSERT INTO t VALUES (2, 'b')");
    my $at = $s->sql('SELECT pg_current_wal_lsn()');
    wait_until(sub { lsn_num(state_of('live')->{lsn}) >= lsn_num($at) }, 30, 'both are on record');
    is("@{[look()]}", 'new/folder/public/t.x.partial', 'it is not complete');
    my ($entry) = @{ state_of('live')->{files} };
    is($entry->{path}, "$dir/new/folder/public/t.x", 'by its name');
    is($entry->{inode}, (stat "$entry->{path}.partial")[1], 'and inode');
    is(state_of('live')->{output}, undef, 'there is no other output');

    # SIGHUP, on a server where nothing happens but a record of running transactions, all 15 seconds
    $c->kill('HUP');
    my $got = eval { await_files(sub (@f) { "@f" eq 'new/folder/public/t.x' }, 'SIGHUP', 8); 1 };
    ok($got, 'SIGHUP completes it, also when nothing happens');
    is(gist(slurp("$dir/new/folder/public/t.x")), 'c1..2', 'with all that came') if $got;
    $s->sql("INSERT INTO t VALUES (3, 'c')");
    await_files(sub (@f) { grep { /t_1\.x\.partial/ } @f }, 'another one is begun');
    $c->kill('HUP');
    $c->kill('HUP');
    $s->sql("INSERT INTO t VALUES (4, 'd')");
    await_files(sub (@f) { 2 <= grep { !/partial/ } @f }, 'and completed');
    $s->sql("INSERT INTO t VALUES (5, 'e')");
    $c->wait_written($pg->wal_lsn);
    $c->stop('TERM')->exited(0, 'SIGTERM');
    my @files = look();
    is(scalar(grep { /partial/ } @files), 0, 'completes all');
    is(join(' ', map { gist(slurp("$dir/$_")) } sort { ($a =~ /(\d+)\.x/ ? $1 : 0) <=> ($b =~ /(\d+)\.x/ ? $1 : 0) } @files) =~ s/ c/,/gr =~ s/\.\./,/gr, 'c1,2,3,4,5', 'each record once');
    is(state_of('live')->{files}, undef, 'and the state file names none');
    my $r = run('shop', 'live', '-m' => 'never', -E => 'now', -f => $f);
    $r->exited(0, 'a run with nothing to do');
    is("@{[look()]}", "@files", 'makes no file');

    # --max-time
    my $t = streaming(start('shop', 'live', '-m' => 'never', '--max-time' => 2, -f => $f));
    $s->sql("INSERT INTO t VALUES (6, 'f')");
    $t->wait->exited(0, '--max-time');
    is(join(' ', map { gist(slurp("$dir/$_")) } grep { my $n = $_; !grep { $_ eq $n } @files } look()), 'c6', 'completes them, too');
    is(scalar(grep { /partial/ } files()), 0, 'none is left');
}

part('cut');
{
    run('shop', 'cut', '-m' => 'never', -E => 'now', -f => "$dir/{table}")->exited(0, 'a slot');
    $pg->sql('shop', q(INSERT INTO t VALUES (70, 'x');
        BEGIN; INSERT INTO t VALUES (71, 'x'); INSERT INTO other SELECT g, repeat('x', 300) FROM generate_series(1, 60000) g;
        INSERT INTO t VALUES (72, 'x'); COMMIT));
    SKIP: for my $format (qw(ndjson avro)) {
        skip_without(has_avrocat(), 'no avrocat', 5) if $format eq 'avro';
        $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('cut', 'cut_$format')");
        part("cut_$format");
        my $c = start('shop', "cut_$format", '-m' => 'never', -F => $format, -f => "$dir/{table}", '--publication' => 'cdcdump_cut');
        await_files(sub (@f) { -s "$dir/other.partial" }, 'the large transaction');
        $c->kill('TERM');
        $c->wait->exited(0, "$format: SIGTERM in the midst of a transaction");
        my @f = look();
        if ("@f" eq 't') {
            is(join(' ', ids("$dir/t", 't')), '70', "$format: only what is whole is in a file");
        } else {
            note "it came to the end of the transaction: @f";
            is(scalar(grep { /partial/ } @f), 0, "$format: no partial file");
        }
        run('shop', "cut_$format", '-m' => 'never', -F => $format, -E => 'now', -f => "$dir/{table}", '--publication' => 'cdcdump_cut')->exited(0, "$format: the next run");
        my @ids = map { ids("$dir/$_", 't') } look();
        is(join(' ', sort @ids), '70 71 72', "$format: gives the rest, once");
    }
}

# ---- rotation ----

part('size');
{
    run('shop', 'size', '-m' => 'never', -E => 'now', -f => "$dir/{table}")->exited(0, 'a slot');
    $pg->sql('shop', "INSERT INTO t SELECT 200000 + g, repeat('y', 500) FROM generate_series(1, 10) g") for 1;
    $pg->sql('shop', join ';', map { "INSERT INTO t VALUES (300000 + $_, repeat('y', 500))" } 1 .. 60);
    $pg->sql('shop', "INSERT INTO t SELECT 400000 + g, repeat('y', 500) FROM generate_series(1, 100) g");
    $pg->sql('shop', "INSERT INTO t VALUES (500000, 'last')");
    run('shop', 'size', '-m' => 'never', -E => 'now', -f => "$dir/{table}-{lsn}.x", '--rotate' => '10kB')->exited(0, '--rotate=10kB');
    my @f = look();
    my (@ids, @wrong);
    for my $i (0 .. $#f) {
        my @r = records(slurp("$dir/$f[$i]"));
        push @ids, map { $_->{row}{id} } @r;
        my $size = -s "$dir/$f[$i]";
        my $of_last = length((split /^/, slurp("$dir/$f[$i]"))[-1]);
        push @wrong, "$f[$i]: only $size" if $size < 10240 && $i < $#f;
        push @wrong, "$f[$i]: $size" if $size - $of_last >= 10240 && $r[0]{seq} == 1 && $r[-1]{seq} == 1;
        push @wrong, "$f[$i]: begins in the midst of a transaction" if $r[0]{seq} != 1;
        push @wrong, "$f[$i]: is not of " . $r[0]{lsn} if sprintf('%016X', lsn_num($r[0]{lsn})) ne ($f[$i] =~ /-([0-9A-F]+)/)[0];
    }
    is_deeply(\@wrong, [], 'files have that size, whole transactions, and the LSN of their first record');
    cmp_ok(scalar @f, '>', 4, 'several');
    is(scalar @ids, 171, 'nothing is missing');
    is_deeply(\@ids, [sort { $a <=> $b } @ids], 'names are in order of the stream');
}

part('seconds');
{
    my $s = $pg->session('shop');
    my $c = streaming(start('shop', 'seconds', '-m' => 'never', -f => "$dir/{table}-{lsn}.x", '--rotate' => 1));
    $s->sql('CHECKPOINT');
    $s->sql('DELETE FROM t WHERE id = 1');
    my $got = eval { await_files(sub (@f) { @f == 1 && "@f" !~ /partial/ }, 'rotation', 8); 1 };
    ok($got, '--rotate=1: a file is completed, also when nothing happens');
    my $n = 100_000;
    await_files(sub (@f) {
        $s->sql("INSERT INTO t VALUES ($n, 'x')");
        $n++;
        sleep 0.1;
        3 <= grep { !/partial/ } @f;
    }, 'rotation while something happens');
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'and the end');
    my @ids = map { map { $_->{op} eq 'c' ? $_->{row}{id} : () } records(slurp("$dir/$_")) } look();
    is_deeply(\@ids, [100_000 .. $n - 1], 'each record once, in order');
}

# ---- columns ----

part('columns');
for my $case ([ndjson => 'plain'], [csv => 'flink'], [csv => 'debezium'], [avro => 'debezium'], [avro => 'flink']) {
    my ($format, $envelope) = @$case;
    my $slot = "columns_${format}_$envelope";
    part($slot);
    $pg->sql('shop', "DROP TABLE IF EXISTS c, d; CREATE TABLE c (id int PRIMARY KEY, a text); CREATE TABLE d (id int PRIMARY KEY);
        ALTER TABLE c REPLICA IDENTITY FULL; ALTER TABLE d REPLICA IDENTITY FULL;
        INSERT INTO c VALUES (1, 'row'); INSERT INTO d VALUES (1)");
    my @how = ('-m' => 'initial', -t => '(c|d)', -F => $format, -e => $envelope, -f => "$dir/{table}-{lsn}");
    my $c = streaming(start('shop', $slot, @how));
    $pg->sql('shop', "INSERT INTO c VALUES (2, 'x'); INSERT INTO d VALUES (2); UPDATE c SET a = 'y' WHERE id = 1");
    $c->wait_written($pg->wal_lsn);
    my @first = files();
    is(scalar(grep { /^c/ } @first), 1, "$slot: rows and changes are in one file") or diag(@first);
    # in mid-run
    $pg->sql('shop', "ALTER TABLE c ADD b int; INSERT INTO c VALUES (3, 'x', 3)");
    $c->wait_written($pg->wal_lsn);
    is(scalar(grep { /^c/ } look()), 2, "$slot: a column more: another file");
    # in mid-transaction, several times
    $pg->sql('shop', "BEGIN; INSERT INTO d VALUES (10); INSERT INTO c VALUES (4, 'x', 4); ALTER TABLE c DROP b; INSERT INTO c VALUES (5, 'x');
        ALTER TABLE c ADD e numeric(5,2); INSERT INTO c VALUES (6, 'x', 1.5); INSERT INTO c VALUES (7, 'x', 2.5);
        ALTER TABLE c ALTER e TYPE numeric(6,3), ALTER a SET NOT NULL; INSERT INTO c VALUES (8, 'x', 2.5);
        ALTER TABLE c RENAME a TO z; INSERT INTO c VALUES (9, 'x', 3.5); INSERT INTO d VALUES (11); COMMIT");
    $pg->sql('shop', "INSERT INTO c VALUES (10, 'x', 4.5)");
    $c->wait_written($pg->wal_lsn);
    wait_until(sub { 6 <= grep { /^c/ } look() }, 30, 'files');
    $c->stop->exited(0, "$slot: to the end");
    my %ids;
    for my $file (look()) {
        my @r = $format eq 'avro' ? avro("$dir/$file") : $format eq 'ndjson' ? records(slurp("$dir/$file"))
            : $envelope eq 'debezium' ? csv_records(slurp("$dir/$file")) : ();
        my @ids;
        if ($format eq 'csv' && $envelope eq 'flink') {
            my @rows = csv(slurp("$dir/$file"));
            my $head = shift @rows;
            my ($at) = grep { $head->[$_] eq 'id' } 0 .. $#$head;
            @ids = map { $_->[0] eq '-U' ? () : $_->[$at] } @rows;
            is(scalar(grep { @$_ != @$head } @rows), 0, "$slot: $file: rows have the columns of the header");
        } else {
            @ids = map { my $row = $_->{row} // $_->{after} // $_; ($_->{row_kind} // '') eq '-U' ? () : $row->{id} } @r;
        }
        push @{ $ids{ substr $file, 0, 1 } }, join ',', @ids;
    }
    is("@{$ids{d}}", '1,2,10,11', "$slot: the other table stays in its file");
    my $sets = join ' ', sort { ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } @{ $ids{c} };
    is($sets, '1,2,1 3,4 5 6,7 8 9,10', "$slot: one file for each set of columns");
}

# A name that goes from table to table.
part('renamed');
{
    $pg->create_db('names2');
    $pg->sql('names2', 'CREATE TABLE a (id int PRIMARY KEY)');
    my $c = streaming(start('names2', 'renamed', '-m' => 'never', '--publication-mode' => 'all-tables', -F => 'csv', -e => 'flink', -f => "$dir/{table}-{lsn}",
        '--changelog-mode' => 'upsert'));
    $pg->sql('names2', "INSERT INTO a VALUES (1); ALTER TABLE a RENAME TO b; INSERT INTO b VALUES (2);
        CREATE TABLE a (id int PRIMARY KEY, more text); INSERT INTO a VALUES (3, 'x');
        DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, more text); INSERT INTO a VALUES (4, 'x'); TRUNCATE a, b; INSERT INTO b VALUES (5);
        BEGIN; ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b;
        INSERT INTO a VALUES (6); INSERT INTO b VALUES (7, 'x'); COMMIT");
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'tables change their names');
    my @have = map { my $file = $_; my ($head, @rows) = csv(slurp("$dir/$file")); my ($at) = grep { $head->[$_] eq 'id' } 0 .. $#$head;
        substr($file, 0, 1) . (@$head - 7 ? '+' : '') . ' ' . join ',', map { $_->[$at] } @rows } look();
    is_deeply([sort @have], ['a 1', 'a 6', 'a+ 3,4', 'b 2,5', 'b+ 7'], 'a file for each name and set of columns') or diag(@have);
}

# ---- rows ----

part('rows');
{
    $pg->create_db('many');
    $pg->sql('many', join ';', map { "CREATE TABLE t$_ (id int PRIMARY KEY, v text, secret text);
        INSERT INTO t$_ SELECT g, repeat('x', 50), 'secret' FROM generate_series(1, 200) g; ALTER TABLE t$_ REPLICA IDENTITY FULL" } 1 .. 40);
    $pg->sql('many', "INSERT INTO t1 SELECT g, repeat('x', 50), 'secret' FROM generate_series(201, 20000) g; ANALYZE");
    my $all_rows = sub ($name, $n, @slots) {
        my @f = look();
        is_deeply([map { s/\.x\z//r } @f], [sort map { "t$_" } 1 .. 40], "$name: one file for each table") or diag(@f);
        my @wrong;
        for my $file (@f) {
            my @ids = sort { $a <=> $b } map { $_->{row}{id} } records(slurp("$dir/$file"));
            my $want = $file eq 't1.x' ? 20000 : 200;
            push @wrong, $file if "@ids" ne join ' ', 1 .. $want;
        }
        is_deeply(\@wrong, [], "$name: with its rows, once");
        is(scalar(grep { slurp("$dir/$_") =~ /secret/ } @f), 0, "$name: --exclude-column");
    };
    my @how = ('--exclude-column' => '.*\.secret');
    run('many', 'rows', '-m' => 'initial', -E => 'now', -j => 2, -f => "$dir/{table}.x", @how)->exited(0, '-j 2');
    $all_rows->('-j 2', 1);
    part('rows_only');
    Cdc->run(server => $pg, db => 'many', args => ['-S', 'ro', '-m', 'initial_only', '-e', 'plain', -j => 2, -f => "$dir/{table}.x", @how])->exited(0, 'initial_only without a state file');
    $all_rows->('initial_only', 1);
    # rows and changes of one table change hands all the time
    part('chunks');
    my $c = start('many', 'chunks', '-m' => 'initial', '--snapshot' => 'incremental', '--chunk-size' => 50, -F => 'csv', -f => "$dir/{table}.x", -e => 'flink', -t => 't[1-4]', @how);
    my $n = 0;
    my $s = $pg->session('many');
    until (($c->stderr =~ /: read [\d,]+ rows? of/) || $n >= 500 || !$c->running) {
        $s->sql("UPDATE t1 SET v = 'n$n' WHERE id = 20000 - $n; UPDATE t2 SET v = 'n' WHERE id = 7");
        $n++;
    }
    streaming($c);
    note "$n transactions beside the chunks";
    wait_until(sub { !$c->running || state_of('chunks')->{phase} eq 'streaming' }, 60, 'all rows');
    $c->stop->exited(0, 'incremental');
    is("@{[look()]}", 't1.x t2.x t3.x t4.x', 'rows and changes of a table are in one file');
}
lap('end');
done_testing;
