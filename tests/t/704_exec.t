# --exec: each batch goes to a command, and is accepted when the command has read it and ended well.
use v5.36;
use CdcTest;
use CdcTest::Workload;
use POSIX ();
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE u (id int PRIMARY KEY, name text); CREATE TABLE other (id int)');
my $dir = scratch();

# Every slot sees all changes, so each part of this test takes one of its own.
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', -e => 'plain', -t => '[tu]', '--state' => "$dir/$name.json", '-v',
        '--status-interval' => '0.1', '--retry-delay' => '0.05', @more];
}

sub begin ($name, @more) {
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, -E => 'now', @more))->exited(0, "$name: a slot");
    mkdir "$dir/$name";
}

# The command sees the folder of its slot as $D.
sub start ($name, $command, @more) {
    my %how = ref $more[-1] ? %{ pop @more } : ();
    my %env = (D => "$dir/$name", %{ delete $how{env} // {} });
    return Cdc->start(server => $pg, db => 'shop', args => args($name, "--exec=$command", @more), env => \%env, %how);
}
sub run ($name, $command, @more) {
    my @how = ref $more[-1] ? pop @more : ();
    return start($name, $command, -E => 'now', @more, @how)->wait;
}

# Keeps each batch in a file of its own, and says so in a log when it is whole.
my $keep = 'f=$(mktemp "$D/batch.XXXXXX") && cat > "$f" && '
    . 'echo "$f lsn=$CDCDUMP_LSN first=$CDCDUMP_FIRST_LSN schema=${CDCDUMP_SCHEMA-unset} table=${CDCDUMP_TABLE-unset} topic=${CDCDUMP_TOPIC-unset}" >> "$D/log"';

# What it has kept since the last time, as {bytes, lsn, first, schema, table, topic}.
my %seen;
sub batches ($name) {
    return () unless -e "$dir/$name/log";
    my @lines = split /\n/, slurp("$dir/$name/log");
    my @new = @lines[($seen{$name} // 0) .. $#lines];
    $seen{$name} = @lines;
    return map { my ($file) = /^(\S+)/; { bytes => slurp($file), map { split /=/, $_, 2 } grep { /=/ } split / / } } @new;
}

my $last_id = 0;
sub insert ($n = 3, $table = 't', $width = 10) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO $table SELECT g, repeat('x', $width) FROM generate_series($first, $last_id) g");
}

sub ids ($bytes) {
    my @ids = $bytes =~ /^\{"op":"[cr]",.*?"row":\{"id":(\d+)/mg;
    return @ids ? "$ids[0]..$ids[-1]" . (@ids == $ids[-1] - $ids[0] + 1 ? '' : ' ' . @ids) : '';
}
sub last_ids ($n) { return $last_id - $n + 1 . "..$last_id" }
sub sizes (@batches) { return join ' ', map { scalar(() = $_->{bytes} =~ /\n/g) } @batches }

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub saved ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }
sub position ($name) { return [saved($name), confirmed($name)] }
sub stands ($name, $position, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is_deeply(position($name), $position, $what);
}
sub file_appears ($path) { wait_until(sub { -e $path }, 20, $path) }
sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }

# ---- options ----

for my $case (
    ['-f', ['--exec=cat', -f => "$dir/out"], qr/--exec|--file/],
    ['--ack-mode', ['--exec=cat', '--ack-mode=read'], qr/--ack-mode|--exec/],
    ['--rotate', ['--exec=cat', '--rotate=10'], qr/--rotate/],
    ['--batch-rows alone', ['--batch-rows=10'], qr/--batch-rows.*--exec|--exec.*--batch-rows/],
    ['--batch-seconds alone', ['--batch-seconds=10'], qr/--batch-seconds.*--exec|--exec.*--batch-seconds/],
    ['--per-table alone', ['--per-table'], qr/--per-table.*--exec|--exec.*--per-table/],
    ['--exec-retries alone', ['--exec-retries=1'], qr/--exec-retries.*--exec|--exec.*--exec-retries/],
    ['--batch-rows=0', ['--exec=cat', '--batch-rows=0'], qr/number of records/],
    ['--batch-rows=x', ['--exec=cat', '--batch-rows=x'], qr/number of records "x"/],
    ['--batch-seconds=x', ['--exec=cat', '--batch-seconds=x'], qr/batch time "x"/],
    ['--exec-retries=-1', ['--exec=cat', '--exec-retries=-1'], qr/number of tries "-1"/],
    ['an empty command', ['--exec='], qr/--exec/],
    ['--per-table with --transactions', ['--exec=cat', '--per-table', '--transactions'], qr/--per-table|--transactions/],
    ['--per-table with --schema-events', ['--exec=cat', '--per-table', '--schema-events'], qr/--per-table|--schema-events/],
    ['--per-table with --messages', ['--exec=cat', '--per-table', '--messages'], qr/--per-table|--messages/],
    ['--per-table with --heartbeat', ['--exec=cat', '--per-table', '--heartbeat=1'], qr/--per-table|--heartbeat/],
) {
    my ($what, $args, $words) = @$case;
    my $r = Cdc->run(server => $pg, db => 'shop', args => args('never', @$args));
    $r->exited(2, "refused: $what");
    like($r->err, $words, '… and says so');
}
is($pg->slot('never'), undef, 'none of them creates a slot');

# ---- a command that hangs, for later ----

# Neither reads nor ends before it is told to, and not even then.  Meanwhile other parts go on.
begin('hang');
insert(5000, 't', 100);
my $hang = start('hang', 'trap "" TERM; sleep 1000 & echo $! $$ > "$D/pids.new"; mv "$D/pids.new" "$D/pids"; wait; wait; wait; sleep 1000', '--batch-rows=1');
file_appears("$dir/hang/pids");
my $hang_position = position('hang');
{
    my $began = time;
    ok(eval { $pg->stop('fast', 15) }, 'a fast stop of the server is not held up by a command that hangs') or $pg->stop('immediate');
    note sprintf 'stopped in %.2f s', time - $began;
    $pg->start;
    ok($hang->running, '… which is still waited for');
    ok($hang->kill('TERM'), '… until SIGTERM asks for the end');
}

# ---- batches ----

{
    my $name = 'rows';
    begin($name);
    insert() for 1 .. 10;
    my $before = position($name);
    my $r = run($name, $keep, '--batch-rows=7');
    $r->exited(0, 'batches by number of records');
    is($r->out, '', '… cdcdump itself writes nothing to standard output');
    my @b = batches($name);
    is(sizes(@b), '9 9 9 3', '… which end at the first transaction boundary');
    is(ids(join '', map { $_->{bytes} } @b), last_ids(30), '… every change once');
    is(join(' ', map { $_->{lsn} } @b), join(' ', map { ($_->{bytes} =~ /"commit_lsn":"([^"]+)"/g)[-1] } @b), 'CDCDUMP_LSN is the last commit');
    is(join(' ', map { $_->{first} } @b), join(' ', map { $_->{bytes} =~ /"lsn":"([^"]+)"/ } @b), 'CDCDUMP_FIRST_LSN is the first record');
    is($b[0]{schema}, 'public', 'CDCDUMP_SCHEMA');
    is($b[0]{table}, 't', 'CDCDUMP_TABLE');
    is($b[0]{topic}, 'shop.public.t', 'CDCDUMP_TOPIC');
    cmp_ok(saved($name), '>', lsn_num($b[-1]{lsn}), 'the position is behind the last');
    is(confirmed($name), saved($name), '… and the slot');
    cmp_ok(saved($name), '>', $before->[0], '… which have moved');

    insert() for 1 .. 3;
    run($name, $keep, '--batch-rows=6')->exited(0, 'a number that is reached exactly');
    is(sizes(batches($name)), '6 3', '… ends the batch');
    insert();
    insert(2, 'u');
    insert();
    run($name, $keep, { env => { CDCDUMP_TABLE => 'junk', CDCDUMP_SCHEMA => 'junk', CDCDUMP_TOPIC => 'junk' } })->exited(0, 'two tables in a batch');
    @b = batches($name);
    is(sizes(@b), '8', '… are one batch');
    is("@{$b[0]}{qw(schema table topic)}", 'unset unset unset', '… which has no table, whatever cdcdump was given');
    insert(5000, 't', 200);
    run($name, $keep, '--batch-rows=1000')->exited(0, 'a transaction larger than --batch-rows');
    @b = batches($name);
    is(sizes(@b), '5000', '… is one batch');
    is(ids($b[0]{bytes}), last_ids(5000), '… in its order');

    my $position = position($name);
    $pg->sql('shop', 'INSERT INTO other VALUES (1)');
    $r = run($name, 'echo ran >> "$D/ran"');
    $r->exited(0, 'a run without changes');
    ok(!-e "$dir/$name/ran", '… starts no command');
    cmp_ok(confirmed($name), '>', $position->[1], '… and the position advances');

    insert();
    $r = run($name, 'echo to stdout; echo to stderr >&2; cat');
    $r->exited(0, "what the command says");
    like($r->out, qr/^to stdout\n\{"op"/, '… goes to standard output');
    like($r->err, qr/^to stderr$/m, '… and to standard error');
    is(ids($r->out), last_ids(3), '… with what it was given');
}

# ---- by time ----

{
    my $name = 'seconds';
    begin($name);
    my $c = streaming(start($name, $keep, '--batch-seconds=1'));
    insert();
    my $began = time;
    wait_until(sub { -e "$dir/$name/log" }, 20, 'the first batch');
    cmp_ok(time - $began, '>=', 0.9, 'a batch ends after --batch-seconds') or note time - $began;
    my @b = batches($name);
    is(ids($b[0]{bytes}), last_ids(3), '… with what came until then');
    wait_until(sub { confirmed($name) > lsn_num($b[0]{lsn}) }, 10, 'the position');
    insert();
    insert();
    wait_until(sub { push @b, batches($name); ids(join '', map { $_->{bytes} } @b) eq last_ids(9) }, 20, 'the next batch');
    pass('the next ones, too');
    my $end = lsn_num($pg->wal_lsn);
    wait_until(sub { confirmed($name) >= $end }, 20, 'the idle position');
    pass('idle positions advance behind them');

    # No descriptors but its own, signals as they should be, no zombie left behind.
    my $pid = $c->pid;
    wait_until(sub { !CdcTest::Process::children_of($pid) }, 10, 'no child of cdcdump');
    pass('a command that has ended leaves no zombie');
    insert();
    my $r = $c->stop('TERM');
    $r->exited(0, 'stopped');
    my $rest = join '', map { $_->{bytes} } batches($name);
    ok($rest eq '' || ids($rest) eq last_ids(3), 'the last batch has been given whole or not at all') or diag($rest);
    run($name, $keep)->exited(0, '… and on');
    is(ids($rest . join '', map { $_->{bytes} } batches($name)), last_ids(3), '… once');
}

# ---- what a command finds ----

{
    my $name = 'finds';
    begin($name);
    insert();
    # The shell blocks signals while it waits for others: it looks by itself.
    my $descriptors = 'ls /proc/$$/fd; :';    # without a redirection, which would take one more
    my $look = "$descriptors; " . 'while read -r name value; do echo $name $value; done < /proc/$$/status > "$D/status"; read -r _ _ _ _ pgrp _ < /proc/$$/stat; echo $pgrp $PPID $$ > "$D/ids"; cat > /dev/null';
    my $inherited = CdcTest::Process->capture(argv => ['/bin/sh', '-c', $descriptors])->{out};
    # A parent that ignores SIGPIPE hands that down.
    my $r = run($name, $look, { wrap => ['/bin/sh', '-c', q(trap '' PIPE; exec "$@"), 'sh'] });
    $r->exited(0, 'a command that looks around');
    is($r->out, $inherited, 'it has no descriptors but those that cdcdump was given');
    cmp_ok(scalar(() = $inherited =~ /^[0-9]$/mg), '<=', 3, '… three, then');
    my %status = slurp("$dir/$name/status") =~ /^(Sig\w+): ([0-9a-f]+)$/mg;
    my ($ignored, $blocked) = map { hex substr $_, -8 } @status{qw(SigIgn SigBlk)};
    is($ignored & 1 << POSIX::SIGPIPE() - 1, 0, 'SIGPIPE is not ignored');
    is($ignored & (1 << POSIX::SIGINT() - 1 | 1 << POSIX::SIGTERM() - 1 | 1 << POSIX::SIGCHLD() - 1), 0, '… nor others');
    is($blocked, 0, 'no signal is blocked');
    my ($pgrp, $parent, $pid) = split ' ', slurp("$dir/$name/ids");
    is($pgrp, $pid, 'it leads a process group of its own');
    insert();
    run($name, $keep, { stdin => 'closed' })->exited(0, 'standard input of cdcdump closed');
    is(ids(join '', map { $_->{bytes} } batches($name)), last_ids(3), '… which is not that of the command');
    insert();
    $r = run($name, 'cat >> "$D/got"', { stdout => 'closed' });
    $r->exited(0, 'standard output closed');
    is(ids(slurp("$dir/$name/got")), last_ids(3), '… which is no matter here');
}

# ---- formats ----

{
    for my $format ('csv', 'avro') {
        my $name = $format;
        my @args = (-F => $format, $format eq 'csv' ? ('--changelog-mode=upsert', -e => 'flink') : (-e => 'plain', '--codec' => 'null'));
        @args = (-S => $name, '-m' => 'never', @args, -t => 't', '--state' => "$dir/$name.json", -E => 'now');
        mkdir "$dir/$name";
        my $go = sub (@more) { Cdc->run(server => $pg, db => 'shop', args => [@args, @more], env => { D => "$dir/$name" }) };
        $go->('--exec=exit 1')->exited(0, "$format: a slot, and no command for nothing");
        insert() for 1, 2;
        $go->("--exec=$keep", '--batch-rows=3')->exited(0, "$format: to the end");
        my @b = batches($name);
        is(scalar @b, 2, "$format: two batches");
        if ($format eq 'csv') {
            like($_->{bytes}, qr/\Arow_kind,commit_lsn,.*\n(?:\+I,.*\n){3}\z/, 'csv: each begins with the header') for @b;
            next;
        }
        is(join(' ', map { substr $_->{bytes}, 0, 3 } @b), 'Obj Obj', 'avro: each is a container');
        SKIP: {
            my $avrocat = CdcTest::Process::find_program('avrocat');
            skip_without($avrocat, 'no avrocat', 2);
            for (@b) {
                spew("$dir/x.avro", $_->{bytes});
                my $r = CdcTest::Process->capture(argv => [$avrocat, "$dir/x.avro"]);
                is(scalar(() = $r->{out} =~ /\n/g), 3, 'avro: which is read back') or diag($r->{err});
            }
        }
    }
}

# ---- commands that fail ----

{
    my $name = 'fails';
    begin($name);
    insert();
    my $count = 'echo x >> "$D/tries"; ';
    my $tries = sub { my $n = -e "$dir/$name/tries" ? length(slurp("$dir/$name/tries") =~ s/\s//gr) : 0; unlink "$dir/$name/tries"; $n };
    my $before = position($name);
    for my $case (
        ['a status', "${count}cat >/dev/null; exit 23", qr/\b23\b/],
        ['a signal', "${count}cat >/dev/null; kill -KILL \$\$", qr/signal 9|SIGKILL|Killed/],
        ['not found', "${count}cdcdump-no-such-program", qr/\b127\b/],
        ['one that reads nothing', "${count}exit 0", qr/read/],
        ['one that closes its input', "${count}exec <&-; exit 0", qr/read/],
        ['a syntax error', 'if', qr/status [12]/, 0],
    ) {
        my ($what, $command, $words, $n) = @$case;
        my $r = run($name, $command, '--exec-retries=1');
        $r->exited(5, "fails: $what");
        like($r->err, $words, '… and says so');
        is($tries->(), $n // 2, '… after another try');
        stands($name, $before, '… nothing is acknowledged');
    }
    my $r = run($name, "${count}exit 1", '--exec-retries=0');
    $r->exited(5, '--exec-retries=0');
    is($tries->(), 1, '… tries once');
    $r = run($name, "${count}exit 1");
    is($tries->(), 3, 'by default it tries twice more');
    stands($name, $before, 'nothing is acknowledged');

    # The second try gets the same, and then all goes on.
    $r = run($name, 'cat > "$D/try.$$"; if [ -e "$D/once" ]; then exit 0; fi; touch "$D/once"; exit 1', '--exec-retries=1');
    $r->exited(0, 'a second try that goes well');
    my @files = glob "$dir/$name/try.*";
    is(scalar @files, 2, '… of two');
    is(slurp($files[0]), slurp($files[1]), '… which were given the same');
    is(ids(slurp($files[0])), last_ids(3), '… the whole batch');
    cmp_ok(saved($name), '>', $before->[0], '… and it is acknowledged');

    # A large batch of which a part is read.
    insert(5000, 't', 100);
    $before = position($name);
    $r = run($name, 'head -n 1 > /dev/null; exit 0', '--exec-retries=0');
    $r->exited(5, 'a command that ends well, but has read the first line only');
    like($r->err, qr/read/, '… and says so');
    unlike($r->err, qr/SIGPIPE|Broken pipe/, '… not of a broken pipe') ;
    stands($name, $before, '… nothing is acknowledged');

    # The batches before it stay accepted.
    run($name, $keep)->exited(0, 'the next run');
    is(ids(join '', map { $_->{bytes} } batches($name)), last_ids(5000), '… gets it all');
    insert() for 1 .. 4;
    $r = run($name, $keep . '; echo >> "$D/runs"; test $(wc -l < "$D/runs") -lt 2', '--batch-rows=3', '--exec-retries=0');
    $r->exited(5, 'the second batch fails');
    my @b = batches($name);
    is(sizes(@b), '3 3', '… and no other is begun');
    ok(saved($name) > lsn_num($b[0]{lsn}) && saved($name) <= lsn_num($b[1]{lsn}), '… the first one is accepted');
    is(confirmed($name), saved($name), '… and the slot knows');
    run($name, $keep)->exited(0, 'and on');
    is(ids(join '', map { $_->{bytes} } batches($name)), last_ids(9), '… from the second');
}

# ---- the end, while a batch waits to be tried again or is under way ----

{
    my $name = 'paused';
    begin($name);
    insert();
    my $before = position($name);
    my $c = start($name, 'exit 1', '--batch-rows=1', '--retry-delay=30');
    $c->wait_stderr(qr/exit status 1.*30 seconds/);
    my $r = $c->stop('TERM', 20);
    $r->exited(0, 'SIGTERM while a batch waits to be tried again');
    stands($name, $before, '… nothing is acknowledged');

    $c = start($name, 'trap "echo term > \"$D/term\"; exit 1" TERM; touch "$D/begun"; while :; do sleep 0.05; done', '--batch-rows=1');
    file_appears("$dir/$name/begun");
    $c->kill('TERM');
    $c->wait_handler('TERM', 0);
    ok($c->kill('TERM'), 'a second SIGTERM');
    $c->wait(10)->signaled('TERM', '… ends the run at once');
    file_appears("$dir/$name/term");
    pass('… and the command with it');
    stands($name, $before, '… nothing is acknowledged');

    # Without a state file the slot alone remembers.
    my $args = [grep { !/\A--state\z|\.json\z/ } @{ args($name, -E => 'now', '--exec=cat') }];
    is(ids(Cdc->run(server => $pg, db => 'shop', args => $args)->out), last_ids(3), 'without a state file');
    is(Cdc->run(server => $pg, db => 'shop', args => $args)->out, '', '… it is accepted, too');
}

# ---- a command for each table ----

{
    my $name = 'tables';
    begin($name);
    $pg->sql('shop', "BEGIN; INSERT INTO t VALUES (-1); INSERT INTO u VALUES (-1); INSERT INTO t VALUES (-2); INSERT INTO u VALUES (-2); INSERT INTO u VALUES (-3); COMMIT");
    my $before = position($name);
    my $r = run($name, $keep . '; test $CDCDUMP_TABLE = t', '--per-table', '--exec-retries=1');
    $r->exited(5, '--per-table: the command for one of them fails');
    my @b = batches($name);
    my @t = grep { $_->{table} eq 't' } @b;
    my @u = grep { $_->{table} eq 'u' } @b;
    is(scalar @u, 2, '… and is tried again');
    cmp_ok(scalar @t, '<=', 1, '… alone');
    stands($name, $before, '… nothing is acknowledged');
    run($name, $keep, '--per-table')->exited(0, '--per-table');
    @b = sort { $a->{table} cmp $b->{table} } batches($name);
    is(join(' ', map { $_->{table} } @b), 't u', '… a command for each');
    is(sizes(@b), '2 3', '… with the records of the table');
    is(scalar(grep { $_->{bytes} =~ /"table":"(?!$_->{table}")/ } @b), 0, '… alone');
    is($b[1]{topic}, 'shop.public.u', '… and its topic');
    cmp_ok(saved($name), '>', $before->[0], '… and the batch is acknowledged');
}

# ---- columns that change ----

{
    my $name = 'columns';
    mkdir "$dir/$name";
    $pg->sql('shop', 'CREATE TABLE c (id int PRIMARY KEY, v int)');
    my @args = (-S => $name, '-m' => 'never', -t => 'c', -F => 'csv', '--changelog-mode=upsert', '--state' => "$dir/$name.json", -E => 'now');
    my $go = sub (@more) { Cdc->run(server => $pg, db => 'shop', args => [@args, @more], env => { D => "$dir/$name" }) };
    $go->()->exited(0, 'columns: a slot');
    $pg->sql('shop', 'BEGIN; INSERT INTO c VALUES (1, 1); ALTER TABLE c ADD w int; INSERT INTO c VALUES (2, 2, 2); COMMIT');
    my $before = position($name);
    my $fails = $go->("--exec=$keep; test \$(wc -l < \"\$D/log\") -lt 2", '--exec-retries=0');
    $fails->exited(5, 'columns: the command for the rows behind the change fails');
    stands($name, $before, '… nothing is acknowledged');
    batches($name);
    $go->("--exec=$keep")->exited(0, 'columns: in the midst of a transaction');
    my @b = batches($name);
    is(scalar @b, 2, '… a command for each header');
    like($b[0]{bytes}, qr/,id,v,_unchanged\n.*,1,1,\n\z/, '… the old columns');
    like($b[1]{bytes}, qr/,id,v,w,_unchanged\n.*,2,2,2,\n\z/, '… and the new ones');
    cmp_ok(saved($name), '>', $before->[0], '… and all of it is acknowledged');
}

# ---- rows ----

for my $kind ('consistent', 'incremental') {
    my $name = "rows_$kind";
    $pg->sql('shop', 'TRUNCATE u; INSERT INTO u SELECT g FROM generate_series(1, 250) g');
    mkdir "$dir/$name";
    my @more = ('-m' => 'initial', "--snapshot=$kind", $kind eq 'incremental' ? '--chunk-size=60' : (), -t => 'u', '--batch-rows=100');
    my $command = [-S => $name, -e => 'plain', '--state' => "$dir/$name.json", @more, '--exec-retries=0'];
    my $go = sub ($c) { Cdc->run(server => $pg, db => 'shop', args => [@$command, "--exec=$c", -E => 'now'], env => { D => "$dir/$name" }) };
    $go->($keep . '; exit 9')->exited(5, "$kind: the command fails");
    my @failed = batches($name);
    is(scalar @failed, 1, '… with the first batch');
    $go->($keep)->exited(0, "$kind: rows");
    my @b = batches($name);
    cmp_ok(scalar @b, '>=', 2, '… in batches') or note sizes(@b);
    is(gist(join '', map { $_->{bytes} } @b), 'r1..250', '… each of them once');
    is(scalar(grep { $_->{table} ne 'u' } @b), 0, '… of their table');
    $go->($keep)->exited(0, "$kind: once more");
    is(scalar(batches($name)), 0, '… and nothing comes again');
    $pg->sql('shop', 'INSERT INTO u VALUES (1000)');
    $go->($keep)->exited(0, "$kind: then changes");
    is(gist(join '', map { $_->{bytes} } batches($name)), 'c1000', '… alone');
}

# ---- Ctrl-C ----

my $slow = 'trap "echo int >> \"$D/int\"" INT; cat > "$D/got"; touch "$D/begun"; while [ ! -e "$D/go" ]; do sleep 0.02; done; touch "$D/ended"';
{
    my $name = 'interrupted';
    begin($name);
    insert(5000, 't', 200);    # more than fits into a pipe
    insert() for 1, 2;
    my $late = $slow =~ s/cat > "\$D\/got"; //r =~ s/touch "\$D\/ended"/cat > "\$D\/got"; touch "\$D\/ended"/r;
    my $c = start($name, $late, '--batch-rows=3', { wrap => ['setsid'] });
    file_appears("$dir/$name/begun");
    my $before = position($name);
    kill 'INT', -$c->pid or die "kill: $!";
    $c->wait_handler('INT', 0);
    sleep 0.3;
    ok($c->running, 'Ctrl-C: the command that runs is waited for');
    stands($name, $before, '… and not accepted before its end');
    spew("$dir/$name/go", '');
    my $r = $c->wait(20);
    $r->exited(0, 'Ctrl-C: status 0');
    ok(-e "$dir/$name/ended", '… when the command has ended');
    ok(!-e "$dir/$name/int", '… which has not got the signal');
    is(ids(slurp("$dir/$name/got")), $last_id - 5005 . '..' . ($last_id - 6), '… but its input, whole; no other has been started');
    cmp_ok(saved($name), '>', $before->[0], '… and its batch is accepted');
    run($name, $keep)->exited(0, 'the next run');
    is(ids(join '', map { $_->{bytes} } batches($name)), last_ids(6), '… gives the rest');
}

# ---- a command that takes its time ----

{
    my $name = 'slow';
    begin($name);
    insert();
    my $c = start($name, $slow, '--batch-rows=3', '--retry-delay=0.2', '--stall-timeout=1');
    file_appears("$dir/$name/begun");
    my $before = position($name);
    insert();
    insert();
    # the next batch is decoded meanwhile
    my $walsender = $pg->slot($name)->{active_pid};
    wait_until(sub { $pg->sql('postgres', "SELECT sent_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE pid = $walsender") eq 't' }, 15, 'the stream');
    pass('slow: the stream goes on while a command runs');
    stands($name, $before, 'slow: with nothing accepted');
    my $began = time;
    ok(eval { $pg->stop('fast', 15) }, 'slow: a fast stop of the server is held up for no longer than the stall timeout') or $pg->stop('immediate');
    note sprintf 'stopped in %.2f s', time - $began;
    ok($c->running, 'slow: cdcdump waits');
    $pg->start;
    spew("$dir/$name/go", '');
    wait_until(sub { saved($name) > $before->[0] && (-e "$dir/$name/got") && ids(slurp("$dir/$name/got")) eq last_ids(3) }, 20, 'the last batch');
    pass('slow: then all goes on');
    my $r = $c->stop;
    $r->exited(0, 'slow: stopped');
}

# ---- the server comes and goes ----

{
    my $name = 'away';
    begin($name);
    my $c = streaming(start($name, $keep, '--batch-seconds=2'));
    insert();
    $c->wait_written($pg->wal_lsn);
    $pg->terminate_slot_user($name) or die 'nothing to cut';
    $c->wait_stderr(qr/(streaming from.*){2}/s);
    insert();
    my $got = '';
    wait_until(sub { $got .= join '', map { $_->{bytes} } batches($name); ids($got) eq last_ids(6) }, 20, 'the batch') or diag($got);
    pass('away: a connection that is cut repeats nothing in a batch');
    $c->stop->exited(0, 'away: stopped');

    insert();
    my $before = saved($name);
    $c = start($name, $slow, '--batch-rows=1');
    file_appears("$dir/$name/begun");
    $pg->stop('immediate');
    $c->wait_stderr(qr/trying again/);
    spew("$dir/$name/go", '');
    wait_until(sub { saved($name) > $before }, 20, 'the position');
    pass('away: a command that ends while the server is away is put on record');
    $pg->start;
    $c->wait_stderr(qr/(streaming from.*){2}/s);
    wait_until(sub { confirmed($name) >= saved($name) }, 20, 'the slot');
    pass('away: and the server is told when it is back');
    $c->stop->exited(0, 'away: stopped again');
}

# ---- kill -9 ----

{
    my $name = 'killed';
    begin($name);
    insert();
    my $before = position($name);
    # the shell's own end is what is looked for: a builtin that waits, so that the trap runs
    my $c = start($name, 'trap "echo term > \"$D/term\"; exit 1" TERM; cat > "$D/got"; touch "$D/begun"; while :; do sleep 0.05; done', '--batch-rows=1');
    file_appears("$dir/$name/begun");
    ok($c->kill('KILL'), 'kill -9 of cdcdump');
    $c->wait;
    file_appears("$dir/$name/term");
    pass('… gives its command SIGTERM');
    stands($name, $before, '… and nothing is accepted');
    run($name, $keep)->exited(0, 'the next run');
    my @b = batches($name);
    is($b[0]{bytes}, slurp("$dir/$name/got"), '… gives the same batch again');

    # One that goes on reading must not take the death of cdcdump for the end of its input.
    insert(5000, 't', 200);
    unlink "$dir/$name/begun", "$dir/$name/got";
    $c = start($name, 'trap "" TERM; touch "$D/begun"; while [ ! -e "$D/go" ]; do sleep 0.02; done; cat > "$D/got"; touch "$D/ended"', '--batch-rows=1');
    file_appears("$dir/$name/begun");
    ok($c->kill('KILL'), 'kill -9 of cdcdump before its command has read');
    $c->wait;
    spew("$dir/$name/go", '');
    file_appears("$dir/$name/ended");
    is(ids(slurp("$dir/$name/got")), last_ids(5000), '… it reads the whole batch, or nothing');
    run($name, $keep)->exited(0, '… and so does the next run');
    @b = batches($name);
    is(ids($b[0]{bytes}), last_ids(5000), '… as it was not accepted');
    unshift @b, undef;

    # Again and again, while a command takes the batches in.
    my $first = $last_id + 1;
    insert(1 + $_ % 4) for 1 .. 60;
    my ($hits, @wrong);
    for my $n (1 .. 6) {
        my $position = saved($name);
        my $c = start($name, $keep . '; sleep 0.02', '--batch-rows=5', -E => 'now');
        my $sum = -s "$dir/$name/log" // 0;
        wait_until(sub { (-s "$dir/$name/log") > $sum + 150 || !$c->running }, 20, 'batches');
        $hits++ if $c->kill('KILL');
        $c->wait;
        # a batch that was on record does not come again
        push @b, my @new = batches($name);
        push @wrong, map { "run $n: $_->{first}" } grep { lsn_num($_->{lsn}) < $position } @new;
    }
    run($name, $keep)->exited(0, 'the run after the kills');
    push @b, batches($name);
    splice @b, 0, 2;
    cmp_ok($hits, '>=', 3, 'kills that hit');
    is(join("\n", @wrong), '', 'what was on record does not come again');
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_duplicates => 1);
    $oracle->resumes->apply(records($_->{bytes})) for @b;
    $oracle->faultless('whole transactions come, some of them again');
    is($oracle->count('c'), $last_id - $first + 1, '… and none is missing');
}

# The same while rows are read, and others write.
{
    my $name = 'chunks';
    mkdir "$dir/$name";
    CdcTest::Workload::create($pg, 'load');
    $pg->sql('load', 'INSERT INTO item SELECT g * 10 FROM generate_series(1, 2000) g');
    my @args = (-S => $name, -t => 'item|pair', '--state' => "$dir/$name.json", '--snapshot=incremental', '--chunk-size=100', '--batch-rows=150', "--exec=$keep");
    my $writer = $pg->session('load');
    $writer->send(CdcTest::Workload::work(1, 400, 0.003));
    my $hits = 0;
    for my $n (1 .. 5) {
        my $c = Cdc->start(server => $pg, db => 'load', stdout => 'null', args => \@args, env => { D => "$dir/$name" });
        my $sum = -s "$dir/$name/log" // 0;
        wait_until(sub { (-s "$dir/$name/log" // 0) > $sum + 300 || !$c->running }, 20, 'batches');
        $hits++ if $c->kill('KILL');
        $c->wait;
    }
    $writer->finish;
    Cdc->run(server => $pg, db => 'load', args => [@args, -E => 'now'], env => { D => "$dir/$name" })->exited(0, 'rows and changes: the run after the kills');
    cmp_ok($hits, '>=', 3, 'rows and changes: kills that hit');
    my $oracle = CdcTest::Workload::oracle(allow_duplicates => 1, again => 1, relaxed => 1, allow_gaps => 1);
    $oracle->apply(records($_->{bytes})) for batches($name);
    CdcTest::Workload::compare($oracle, $pg, 'load', 'rows and changes');
}

# ---- spools ----

{
    my $name = 'spool';
    begin($name);
    insert();
    my $before = position($name);
    my $r = run($name, $keep, { env => { TMPDIR => "$dir/none" } });
    ok(defined $r->exit && $r->exit =~ /\A[25]\z/, 'TMPDIR is not there') or diag($r->describe);
    like($r->err, qr/\Q$dir\E\/none/, '… and is named');
    stands($name, $before, '… nothing is acknowledged');
    mkdir "$dir/tmp";
    run($name, $keep . '; ls -A "$TMPDIR" > "$D/spools"', { env => { TMPDIR => "$dir/tmp" } })->exited(0, 'a TMPDIR');
    is(slurp("$dir/$name/spools"), '', '… in which spools have no names');
    SKIP: {
        my $small = "$dir/small";
        mkdir $small;
        my $mounted = $> == 0 && CdcTest::Process->capture(argv => ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', $small])->{exit} == 0;
        skip_without($mounted, 'a small file system cannot be mounted', 4);
        my $done = eval {
            insert(5000, 't', 100);
            $before = position($name);
            $r = run($name, $keep, { env => { TMPDIR => $small } });
            $r->exited(5, 'a TMPDIR that is full');
            like($r->err, qr/No space left on device/, '… and says so');
            stands($name, $before, '… nothing is acknowledged');
            1;
        };
        my $error = $@;
        CdcTest::Process->capture(argv => ['umount', '-l', $small]);
        ok($done, '… all of it') or diag($error);
    }
}

# ---- the command that hangs ----

# It was given 10 seconds to end, and 5 more after a SIGTERM of its own.
{
    my @pids = split ' ', slurp("$dir/hang/pids");
    my $alive = sub { grep { -e "/proc/$_/stat" && slurp("/proc/$_/stat") !~ /\) Z / } @pids };
    my $r = $hang->wait(40);
    $r->exited(0, 'hang: SIGTERM has ended it at last');
    wait_until(sub { !$alive->() }, 10, 'the end of the command');
    pass('hang: its command is gone, with what that has started');
    stands('hang', $hang_position, 'hang: nothing is acknowledged');
}

done_testing;
