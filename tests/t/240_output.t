# Outputs that are slow, stopped, closed, full, or not what they were.
use v5.36;
use CdcTest;
use Socket;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();

# Every slot sees all changes, so each part of this test takes one of its own.
sub args ($name, @more) { return [-S => $name, '-m' => 'never', '-e' => 'plain', '--state' => "$dir/$name.json", @more] }
sub start ($name, $stdout, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, '-v', @more));
}
sub run ($name, $stdout, @more) { return start($name, $stdout, -E => 'now', @more)->wait }

my $last_id = 0;
sub insert ($n = 3, $width = 10) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', $width) FROM generate_series($first, $last_id) g");
}

# The ids of records, as 1..3,7..9
sub ids ($bytes) {
    my @ids = $bytes =~ /^\{"op":"c",.*?"row":\{"id":(\d+),/mg;
    my @ranges;
    for my $id (@ids) {
        if (@ranges && $ranges[-1][1] + 1 == $id) { $ranges[-1][1]++ }
        else                                     { push @ranges, [$id, $id] }
    }
    return join ',', map { "$_->[0]..$_->[1]" } @ranges;
}

sub from ($first) { return ($first + 1) . "..$last_id" }
sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }
sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }

# So that what follows does not come between rows and their commit.
sub committed ($c) { $c->wait_written($pg->wal_lsn); return $c }

# A slot, and a first transaction in that output.
sub begin ($name, $stdout, @more) {
    run($name, 'null', @more)->exited(0, "$name: a slot");
    insert();
    my $r = run($name, $stdout, @more);
    $r->exited(0, "$name: a first run");
    return $r;
}

# ---- a slow reader ----

begin('slow', 'pipe');
my $start = $last_id;
insert(20_000, 300);
{
    my $c = start('slow', 'pipe', -E => 'now');
    my $before = confirmed('slow');
    for (1 .. 40) { $c->read_some(20_000, 5); sleep 0.02 }
    is(confirmed('slow'), $before, 'slow: half of a transaction is not acknowledged');
    my $peak = slurp('/proc/' . $c->pid . '/status') =~ /VmHWM:\s+(\d+) kB/ ? $1 : 0;
    # A sanitizer needs memory of its own.
    cmp_ok($peak, '<', 16 * 1024, 'slow: and not held in memory') unless `nm -D $Cdc::BINARY 2>/dev/null` =~ /asan/ || slurp($Cdc::BINARY) =~ /__asan_init/;
    my $r = $c->wait;
    $r->exited(0, 'slow: to the end');
    is(ids($r->out), from($start), 'slow: every change once');
    is($pg->slot('slow')->{confirmed_flush_lsn}, saved('slow')->{lsn}, 'slow: acknowledged then');
}

# ---- a reader that stops ----

sub walsender ($name) { return $pg->slot($name)->{active_pid} }

begin('stopped', 'pipe');
my $session = $pg->session('postgres');    # asks quickly: there is not much time
my $reply = sub { $session->sql(q(SELECT extract(epoch FROM reply_time) FROM pg_stat_replication)) };
for my $fill ('full', 'half full') {
    my $start = $last_id;
    my $c = streaming(start('stopped', 'pipe', '--stall-timeout' => 2, '--status-interval' => '0.2'));
    my $began = time;
    $fill eq 'full' ? insert(20_000, 300) : insert();
    # While it stalls, the server hears from it.
    sleep 0.5;
    my ($first, $second) = ($reply->()) x 2;
    $second = $reply->() while $second ne '' && $second <= $first && time < $began + 10;
    ok($second ne '' && $second > $first, "$fill pipe: feedback goes out while nobody reads") or diag("$first $second");
    my $stands = lsn_num(saved('stopped')->{lsn});
    $c->wait_stderr(qr/the output has taken nothing for 2 seconds: giving up the connection/, 10);
    cmp_ok(time - $began, '>=', 1.9, "$fill pipe: given up after the stall timeout");
    wait_until(sub { !walsender('stopped') }, 5, 'the end of the walsender');
    ok(eval { $pg->sql('postgres', 'CHECKPOINT'); 1 }, "$fill pipe: a checkpoint is not held up");
    if ($fill eq 'half full') {
        ok(eval { $pg->stop('fast', 5) }, "$fill pipe: nor is a stop of the server");
        $pg->start;
    }
    sleep 0.3;
    ok(!walsender('stopped') && $c->running, "$fill pipe: it waits for the reader");
    my @got = $c->read_until(qr/"id":$last_id,/, 20);
    my ($commit) = $got[0] =~ /"commit_lsn":"([^"]+)"/;
    cmp_ok($stands, '<=', lsn_num($commit), "$fill pipe: the position stood still meanwhile");
    insert();
    push @got, $c->read_until(qr/"id":$last_id,/, 20);
    is(ids(join '', map { "$_\n" } @got), from($start), "$fill pipe: goes on when it reads again, nothing lost or doubled");
    wait_until(sub { confirmed('stopped') > lsn_num($commit) }, 10, 'the position');
    my $r = committed($c)->stop;
    $r->exited(0, "$fill pipe: stopped");
    is(ids($r->out), from($start), "$fill pipe: nothing more");
}

# The end of the server, held up by a reader that stands still, for no longer than the timeout.
{
    my $start = $last_id;
    my $c = streaming(start('stopped', 'pipe', '--stall-timeout' => 1, '--retry-delay' => '0.2'));
    insert();
    sleep 0.2;
    ok(eval { $pg->stop('fast', 5) }, 'a stop of the server is held up for the stall timeout only') or $pg->stop('immediate');
    $pg->start;
    $c->read_until(qr/"id":$last_id,/, 20);
    my $r = $c->stop;
    $r->exited(0, 'and goes on after it');
    is(ids($r->out), from($start), 'nothing lost or doubled');
}

# ---- a reader that goes ----

begin('closed', 'pipe');
{
    my $c = streaming(start('closed', 'pipe'));
    insert();
    my $end = lsn_num($pg->wal_lsn);
    $c->read_until(qr/"id":$last_id,/);
    committed($c);
    my $began = time;
    $c->close_stdout;
    my $r = $c->wait(10);
    $r->signaled('PIPE', 'closed pipe: dies of it');
    cmp_ok(time - $began, '<', 1, 'at once, though idle');
    is($r->err =~ /error/ ? $r->err : '', '', 'without a word');
    cmp_ok(lsn_num(saved('closed')->{lsn}), '>=', $end, 'with its position saved');
    is($pg->slot('closed')->{confirmed_flush_lsn}, saved('closed')->{lsn}, 'and told');
    insert();
    is(ids(run('closed', 'pipe')->out), ($last_id - 2) . "..$last_id", 'the next run goes on exactly there');
    # head -1: the reader has gone before the output comes.
    insert();
    $c = streaming(start('closed', 'pipe'));
    $c->close_stdout;
    $c->wait(10)->signaled('PIPE', 'closed before anything is written');
    insert();
    # What was in the pipe when the reader went was not read.
    is(ids(run('closed', 'pipe')->out), ($last_id - 5) . "..$last_id", 'nothing of it is lost');
}

# ---- disks that are full ----

my ($status, $words) = (5, qr/could not write to standard output: No space left on device/);
{
    run('full', 'null')->exited(0, 'full: a slot');
    insert();
    my $before = confirmed('full');
    my $r = run('full', '>/dev/full');
    $r->exited(5, '/dev/full');
    like($r->err, $words, 'says so');
    is(confirmed('full'), $before, 'nothing is acknowledged');
    is(ids(run('full', 'pipe')->out), ($last_id - 2) . "..$last_id", 'it comes the next time');
}

# Fails at some point of a transaction; the next run makes it whole.
sub full_disk ($name, $file, $words, $make_room, %how) {
    begin($name, 'null', '-f', $file);
    my $start = $last_id - 3;
    insert();
    insert(20_000, 100);
    my $position = saved($name)->{lsn};
    my $r = Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, -E => 'now', '-f', $file), wrap => $how{wrap} // []);
    $r->exited(5, "$name: status");
    like($r->err, $words, "$name: says so");
    cmp_ok(-s $file, '>', 200_000, "$name: something was written before");
    cmp_ok(confirmed($name), '<=', lsn_num(saved($name)->{lsn}), "$name: nothing is acknowledged that is not on record");
    $make_room->();
    run($name, 'null', '-f', $file)->exited(0, "$name: the next run");
    is(ids(slurp($file)), from($start), "$name: nothing lost or doubled");
}

SKIP: {
    my $prlimit = CdcTest::Process::find_program('prlimit');
    skip_without($prlimit, 'prlimit is not there', 8);
    full_disk('fsize', "$dir/fsize.out", qr/could not write to .*: File too large/, sub { }, wrap => [$prlimit, '--fsize=1000000', '--']);
}

SKIP: {
    my $small = "$dir/small";
    mkdir $small;
    my $mounted = $> == 0 && CdcTest::Process->capture(argv => ['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', $small])->{exit} == 0;
    skip_without($mounted, 'a small file system cannot be mounted', 8);
    my $done = eval {
        spew("$small/ballast", 'b' x 1_000_000);
        full_disk('disk', "$small/out", qr/could not write to .*: No space left on device/, sub {
            unlink "$small/ballast";
            CdcTest::Process->capture(argv => ['mount', '-o', 'remount,size=20m', $small])->{exit} == 0 or die 'remount';
        });
        1;
    };
    my $error = $@;
    CdcTest::Process->capture(argv => ['umount', '-l', $small]);
    ok($done, 'disk: all of it') or diag($error);
}

# ---- files that are not what they were ----

my $file = "$dir/file.out";
begin('file', 'null', '-f', $file);
my $good = slurp($file);
insert();

sub refused ($name, $words, $how, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = slurp("$dir/file.json");
    my ($content, $confirmed) = (-e $file ? slurp($file) : undef, confirmed('file'));
    my $r = run('file', $how, @args);
    $r->exited(2, $name);
    like($r->err, $words, "$name: says so");
    is(slurp("$dir/file.json"), $before, "$name: the state is left alone");
    is(-e $file ? slurp($file) : undef, $content, "$name: the output, too");
    is(confirmed('file'), $confirmed, "$name: nothing is acknowledged");
}

my @f = ('null', '-f', $file);
for my $how (['-f', @f], ['>>', ">>$file"]) {
    my ($name, @args) = @$how;
    spew($file, substr $good, 0, -1);
    refused("$name: shorter", qr/output file "\Q$file\E" does not fit the state file: it is shorter/, @args);
    spew($file, $good =~ s/x{3}/xyx/r);
    refused("$name: edited", qr/does not fit the state file: its accepted part has been changed/, @args);
}
spew($file, $good);
rename $file, "$file.away";
refused('-f: missing', qr/does not fit the state file: it is missing/, @f);
ok(!-e $file, 'it is not created');
spew($file, $good);
refused('-f: another inode', qr/does not fit the state file: it is another file than the one that was written to/, @f);
unlink $file;
spew($file, '');
{
    my $r = run('file', @f);
    $r->exited(0, '-f: another, empty one');
    like($r->err, qr/warning: output file "\Q$file\E" has been replaced by an empty one/, 'is warned about');
    is(ids(slurp($file)), ($last_id - 2) . "..$last_id", 'and goes on');
    is(slurp("$file.away"), $good, 'the old one is left alone');
}
insert();
{
    open my $fh, '>>', $file or die $!;
    print $fh '{"op":"c","half a rec';
    close $fh;
    my $length = saved('file')->{output}{length};
    my $r = run('file', @f);
    $r->exited(0, '-f: longer');
    like($r->err, qr/cutting output file "\Q$file\E" back to the $length bytes that were accepted/, 'is cut back, and said');
    is(ids(slurp($file)), ($last_id - 5) . "..$last_id", 'and goes on');
    insert();
    $r = run('file', ">$file");
    $r->exited(0, 'emptied by >');
    like($r->err, qr/warning: output file "\Q$file\E" has been emptied since the last run/, 'is warned about');
    is(ids(slurp($file)), ($last_id - 2) . "..$last_id", 'and goes on');
    insert();
    run('file', ">>$file")->exited(0, 'the same file by >>');
    is(ids(slurp($file)), ($last_id - 5) . "..$last_id", 'goes on in it');
    insert();
    run('file', ">$file.next")->exited(0, 'another file by >');
    is(ids(slurp("$file.next")), ($last_id - 2) . "..$last_id", 'takes what follows');
    is(ids(slurp($file)), ($last_id - 8) . '..' . ($last_id - 3), 'and the one before is left alone');
    # Opened in the middle of the file, as a shell does with 1<>file.
    insert();
    run('file', "<>$file.next")->exited(0, 'a descriptor at the start of the file');
    is(ids(slurp("$file.next")), ($last_id - 5) . "..$last_id", 'writes at its end');
}

# ---- other kinds of output ----

{
    begin('fifo', 'pipe');
    my $fifo = "$dir/fifo";
    POSIX::mkfifo($fifo, 0600) or die "mkfifo: $!";
    insert();
    my $reader = CdcTest::Process->spawn(argv => ['cat', $fifo], stdin => 'null', stdout => ">$dir/fifo.out");
    run('fifo', 'null', '-f', $fifo)->exited(0, '-f FIFO');
    $reader->wait_exit(10);
    is(ids(slurp("$dir/fifo.out")), ($last_id - 2) . "..$last_id", 'its reader has all');
    insert();
    my $c = start('fifo', 'null', '-f', $fifo);
    $c->wait_handler('INT');
    sleep 0.3;
    my $r = $c->stop('INT', 5);
    $r->exited(0, '-f FIFO without a reader: can be interrupted');
    insert();
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $c = start('fifo', $theirs, -E => 'now');
    close $theirs;
    my $got = '';
    1 while sysread $ours, $got, 65536, length $got;
    $c->wait(10)->exited(0, 'a socket');
    is(ids($got), ($last_id - 5) . "..$last_id", 'takes it all');
    is($pg->slot('fifo')->{confirmed_flush_lsn}, saved('fifo')->{lsn}, 'and it is acknowledged');

    socketpair $ours, $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    $c = streaming(start('fifo', $theirs));
    close $theirs;
    close $ours;
    $c->wait(10)->signaled('PIPE', 'a socket that is closed');

    insert();
    $start = saved('fifo')->{lsn};
    $r = run('fifo', 'closed');
    $r->exited(5, 'standard output closed');
    like($r->err, qr/standard output/, 'says so');
    is(saved('fifo')->{lsn}, $start, 'and takes nothing for accepted');
    run('fifo', 'null', '-f', "$dir/fifo.file")->exited(0, 'which is no matter with -f');
    is(ids(slurp("$dir/fifo.file")), ($last_id - 2) . "..$last_id", 'it comes again');
}

for (['written', 'pipe', qr/ack mode "written" needs a regular file/], ['read', ">$dir/x", qr/ack mode "read" needs a pipe, but the output is a regular file/]) {
    my ($mode, $stdout, $words) = @$_;
    my $r = run('never', $stdout, "--ack-mode=$mode");
    $r->exited(2, "--ack-mode=$mode with the wrong output");
    like($r->err, $words, 'says so');
    is($pg->slot('never'), undef, 'no slot is created');
}

# ---- rotation ----

{
    my $log = "$dir/log";
    run('log', 'null')->exited(0, 'rotation: a slot');
    my $start = $last_id;
    my $c = streaming(start('log', 'null', '-f', $log));
    my $writer = $pg->session('shop');
    for my $n (1 .. 5) {
        my ($first, $rows) = ($last_id + 1, 3000);
        $last_id += 3 * $rows;
        $writer->send(join ';', map { my $from = $first + $_ * $rows;
            "INSERT INTO t SELECT g, 'rotated' FROM generate_series($from, " . ($from + $rows - 1) . ') g' } 0 .. 2);
        wait_until(sub { -s $log }, 10, 'output');
        rename $log, "$log.$n" or die $!;
        ok($c->kill('HUP'), "rotation $n");
        wait_until(sub { -e $log }, 10, 'the new file');
        $writer->finish;
    }
    insert();
    wait_until(sub { slurp($log) =~ /"id":$last_id,/ }, 10, 'the last change');
    committed($c)->stop->exited(0, 'rotation: stopped');
    my @parts = map { slurp($_) } (map { "$log.$_" } 1 .. 5), $log;
    is(scalar(grep { !/\n\z/ } @parts), 0, 'rotation: no record is torn');
    is(ids(join '', @parts), from($start), 'rotation: none is lost or doubled');
    is(scalar(grep { length } @parts), 6, 'rotation: each part has some');
    insert();
    run('log', 'null', '-f', $log)->exited(0, 'rotation: the next run');
    is(ids(join '', @parts[0 .. 4], slurp($log)), from($start), 'rotation: goes on in the last part');
}

done_testing;
