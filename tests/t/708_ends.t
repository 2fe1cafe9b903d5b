# Ends and waits at bad moments: a command's input that is cut off, timers that have nothing to do, readers
# that go in the moment in which they reply, dead letters that nobody takes.  709_ends_server.t has those of
# the server.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use Fcntl qw(O_NONBLOCK O_RDWR);
use POSIX ();
use Time::HiRes qw(sleep time);

use constant FIONREAD => 0x541B;

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE quiet (id int)');
my $dir = scratch();
$SIG{PIPE} = 'IGNORE';    # a reply to a run that has ended
my $lap = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $lap; $lap = time }

# Every slot sees all changes, so each part of this test takes one of its own.
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', -e => 'plain', '--state' => "$dir/$name.json", '-v', '--status-interval' => '0.1',
        '--retry-delay' => '0.05', (grep { $_ eq '-t' } @more) ? () : (-t => 't'), @more];
}

# The command of --exec sees the folder of its slot as $D.
sub start ($name, @more) {
    my %how = ref $more[-1] ? %{ pop @more } : ();
    return Cdc->start(server => $pg, db => 'shop', args => args($name, @more), env => { D => "$dir/$name", %{ delete $how{env} // {} } }, %how);
}
sub run ($name, @more) {
    my @how = ref $more[-1] ? pop @more : ();
    return start($name, @more, -E => 'now', @how)->wait;
}

sub begin ($name, @more) {
    run($name, @more, { stdout => 'null' })->exited(0, "$name: a slot");
    mkdir "$dir/$name";
}

# The run, and the handle to reply by.
sub reply ($name, @more) {
    my %how = ref $more[-1] ? %{ pop @more } : ();
    pipe my $from, my $to or die "pipe: $!";
    my $c = start($name, '--ack-mode=reply', '--ack-fd=3', @more, { %how, fds => { 3 => $from, %{ $how{fds} // {} } } });
    close $from;
    return ($c, $to);
}
sub ack ($to, @lsns) { return defined syswrite $to, join '', map { "$_\n" } @lsns }

my $last_id = 0;
sub insert ($n = 1, $width = 10) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', $width) FROM generate_series($first, $last_id) g");
}

sub ids ($bytes) {
    my @ids = $bytes =~ /"row":\{"id":(\d+)/g;
    return @ids ? "$ids[0]..$ids[-1]" . (@ids == $ids[-1] - $ids[0] + 1 ? '' : ' ' . @ids) : '';
}
sub last_ids ($n) { return $last_id - $n + 1 . "..$last_id" }
sub commits (@lines) {
    my %seen;
    return grep { !$seen{$_}++ } map { /"commit_lsn":"([^"]+)"/ } @lines;
}

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub saved ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }
sub streaming ($c, $n = 1) { $c->wait_stderr(qr/(streaming from.*){$n}/s); return $c }
sub file_appears ($path) { wait_until(sub { -e $path }, 20, $path) }
sub content ($name) { return -e "$dir/$name" ? slurp("$dir/$name") : '' }
# Whether the last transaction of those is accepted.
sub accepted ($name, $bytes) { return saved($name) > lsn_num((commits(split /\n/, $bytes))[-1] // die "no commit\n") ? 1 : 0 }
sub left_in ($handle) { my $n = pack 'i', 0; ioctl $handle, FIONREAD, $n or die "ioctl: $!"; return unpack 'i', $n }

# Until it stands still: what the test does then has happened at once for it.
sub freeze ($c) {
    my $stat = '/proc/' . $c->pid . '/stat';
    $c->kill('STOP');
    wait_until(sub { slurp($stat) =~ /\) T / }, 10, 'SIGSTOP');
}

# ---- a command that needs a SIGTERM to begin, for later ----

begin('hurry');
insert(150, 600);    # more than a pipe holds
my $hurry_ids = last_ids(150);
my $hurry = start('hurry', '--batch-seconds=0.1', '--exec-retries=0',
    '--exec=go=; trap "go=1" TERM; touch "$D/begun"; until [ "$go" ]; do sleep 0.1; done; cat > "$D/got"');
file_appears("$dir/hurry/begun");
$hurry->kill('TERM');

# ---- the input of a command ----

# Who fills its pipe is a process beside the command.  It stands in the midst of the batch.
sub feeder_of ($c) {
    my $feeder;
    wait_until(sub {
        ($feeder) = grep { (readlink "/proc/$_/exe" // '') eq (readlink '/proc/' . $c->pid . '/exe') } CdcTest::Process::children_of($c->pid);
        return $feeder && -e "/proc/$feeder/fdinfo/0" && slurp("/proc/$feeder/fdinfo/0") =~ /^pos:\s+(\d+)/ && $1 > 65536;
    }, 20, 'a feeder that waits');
    return $feeder;
}

my $waits = q(trap '' TERM INT HUP USR1; touch "$D/begun"; until [ -e "$D/go" ]; do sleep 0.02; done; cat > "$D/got");
for my $signal ('KILL', 'TERM') {
    my $name = lc "feeder_$signal";
    begin($name);
    insert(150, 600);
    my $c = start($name, -E => 'now', '--exec-retries=0', "--exec=$waits");
    file_appears("$dir/$name/begun");
    my $feeder = feeder_of($c);
    if ($signal eq 'KILL') {
        kill 'KILL', $feeder or die "kill: $!";
    } else {
        kill $_, -getpgrp $feeder or die "kill: $!" for qw(TERM INT HUP USR1);
    }
    spew("$dir/$name/go", '');
    my $r = $c->wait(30);
    if ($signal eq 'KILL') {
        $r->exited(5, 'input that is cut off by SIGKILL: the run fails');
        isnt(ids(content("$name/got")), last_ids(150), '… as the command has not got it all');
        is(accepted($name, content("$name/got")), 0, '… nothing is on record');
        cmp_ok(confirmed($name), '<=', saved($name), '… nor acknowledged');
        run($name, '--exec=cat > "$D/got"')->exited(0, '… the next run');
    } else {
        $r->exited(0, 'signals to the group of a command do not end its input');
    }
    is(ids(content("$name/got")), last_ids(150), '… which gets all of it');
    is(accepted($name, content("$name/got")), 1, '… and that is on record');
}
lap('the input of a command');

# ---- timers ----

sub cpu_ticks ($c) { my @fields = split ' ', slurp('/proc/' . $c->pid . '/stat') =~ s/.*\) //sr; return $fields[11] + $fields[12] }
{
    $pg->sql('shop', q(CREATE TABLE big AS SELECT g AS id, repeat('y', 200) AS v FROM generate_series(1, 20000) g));
    begin('beats', -t => 'quiet');
    begin('beats_unread', -t => 'quiet');
    my %runs = (
        'heartbeats while a command runs' => start('beats', -t => 'quiet', '--heartbeat=0.2', '--batch-rows=1', '--batch-seconds=0.1', "--exec=$waits"),
        'rows that nobody reads' => start('unread', '-m' => 'initial_only', -t => 'big', '--stall-timeout=0.3'),
        'heartbeats that nobody reads' => start('beats_unread', -t => 'quiet', '--messages', '--heartbeat=0.2', '--stall-timeout=60'),
    );
    streaming($runs{'heartbeats that nobody reads'});
    # more than a pipe and what waits for it may hold, and whole
    $pg->sql('shop', q(SELECT pg_logical_emit_message(false, 'much', repeat('x', 3000000)); SELECT pg_switch_wal()));
    file_appears("$dir/beats/begun");
    wait_until(sub { left_in($runs{$_}{pipe}) >= 60_000 }, 20, $_) for 'rows that nobody reads', 'heartbeats that nobody reads';
    sleep 1;    # until all of that is due
    my %before = map { $_ => cpu_ticks($runs{$_}) } keys %runs;
    sleep 1.5;
    for my $what (sort keys %runs) {
        ok($runs{$what}->running, "$what: waits");
        cmp_ok(cpu_ticks($runs{$what}) - $before{$what}, '<', 15, '… and does nothing meanwhile');
        $runs{$what}->kill('KILL');
    }
    spew("$dir/beats/go", '');
    $_->wait(10, drain => 0) for values %runs;
    $pg->sql('shop', 'DROP TABLE big');
}
{
    my $name = 'delay';
    begin($name);
    insert();
    my $c = start($name, -E => 'now', '--retry-delay=40', '--exec=exit 1');
    $c->wait_stderr(qr/trying the batch again in/);
    like($c->stderr, qr/trying the batch again in 40 seconds/, 'a --retry-delay that is long is heeded');
    $c->stop('TERM')->exited(0, '… but not longer than the run');
}
lap('timers');

# ---- as many files as there are tables ----

{
    my $name = 'tables';
    my @tables = (-t => 'm\d+');
    $pg->sql('shop', q(DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('CREATE TABLE m%s (id int PRIMARY KEY)', i); END LOOP; END $$));
    begin($name, @tables);
    $pg->sql('shop', q(DO $$ BEGIN FOR i IN 1..100 LOOP EXECUTE format('INSERT INTO m%s VALUES (%s)', i, i); END LOOP; END $$));
    my $r = run($name, @tables, '--per-table', '--exec-retries=0', '--exec=ulimit -S -n >> "$D/limits"; cat >> "$D/got"',
        { wrap => ['/bin/sh', '-c', 'ulimit -S -n 128; exec "$@"', 'sh'] });
    $r->exited(0, 'more tables in a batch than files may be open');
    is(content("$name/got") =~ tr/\n//, 100, '… all of them are given');
    is(join(' ', do { my %n; grep { !$n{$_}++ } split /\n/, content("$name/limits") }), '128', '… and a command has the limit that cdcdump was given');
}
lap('tables');

# ---- a process that cannot be started ----

SKIP: {
    my $why = CdcTest::Faults::why_not();
    skip_without(!$why, $why, 6);
    my $name = 'fork';
    begin($name);
    insert();
    my $faults = CdcTest::Faults->new;
    $faults->trace(1);
    my $rule = $faults->arm(call => 'fork', nth => 2, error => 'EAGAIN');
    my $r = run($name, '--exec-retries=0', '--exec=cat > "$D/got"', { env => $faults->env });
    is($faults->fired($rule), 1, 'the second process of a command cannot be started');
    my @wrong = grep { $_->{call} eq 'close' && $_->{result} < 0 } $faults->calls;
    is(scalar @wrong, 0, '… no descriptor is closed twice');
    ok(!defined $r->signal, '… which is survived') or diag($r->describe);
    run($name, '--exec=cat > "$D/got"')->exited(0, '… the next run') if $r->exit;
    is(ids(content("$name/got")), last_ids(1), '… and the batch is not lost');
}
lap('fork');

# ---- the last reply ----

for my $case (['a reader that has come to the end', 2, 10], ['a reader that leaves much', 2000, 1000]) {
    my ($what, $rows, $width) = @$case;
    my $name = "last_$rows";
    begin($name);
    my ($c, $to) = reply($name);
    streaming($c);
    insert();
    my ($commit) = commits($c->read_until(qr/"id":$last_id,/));
    insert($rows, $width);
    wait_until(sub { left_in($c->{pipe}) >= ($rows > 100 ? 60_000 : 100) }, 20, 'more');
    freeze($c);
    ack($to, $commit);
    close $to;
    $c->close_stdout;
    $c->kill('CONT');
    $c->wait(15)->signaled('PIPE', "$what, and goes: SIGPIPE");
    cmp_ok(saved($name), '>', lsn_num($commit), "… what it said before is on record");
    is(ids(run($name)->out), last_ids($rows), '… and does not come again, but the rest');
}

# Ctrl-C ends a reader, too.
{
    my $name = 'interrupted';
    begin($name);
    my ($c, $to) = reply($name);
    streaming($c);
    insert(2);
    my ($line) = $c->read_until(qr/"id":$last_id,/);
    freeze($c);
    $c->kill('INT');
    close $to;
    $c->close_stdout;
    $c->kill('CONT');
    my $r = $c->wait(15);
    ok(defined $r->signal ? $r->signal == POSIX::SIGPIPE() : $r->exit == 0, 'Ctrl-C of a pipeline is no failure') or diag($r->describe);
    unlike($r->err, qr/error:/, '… and no error');
    is(accepted($name, $line), 0, '… what was not acknowledged is not on record');

    # with a reader that cannot reply any more before it has read everything
    ($c, $to) = reply($name);
    $c->read_until(qr/"id":$last_id,/);
    freeze($c);
    $c->kill('INT');
    $c->kill('CONT');
    $c->wait_handler('INT', 0);
    close $to;
    $r = $c->wait(15);
    $r->exited(0, 'a reader that closes the descriptor after Ctrl-C');
    is(accepted($name, $line), 0, '… acknowledges nothing by that');
}

# A shell can leave another descriptor of the same pipe open, as bash does with > >(reader).
{
    my $name = 'descriptors';
    begin($name);
    insert(2);
    pipe my $out, my $in or die "pipe: $!";
    my ($c, $to) = reply($name, -E => 'now', '--stall-timeout=30', { stdout => $in, fds => { 9 => $in, 10 => $in } });
    close $in;
    my ($got, $ended, $ready) = ('', 0, '');
    vec($ready, fileno $out, 1) = 1;
    my $deadline = time + CdcTest::Process::patient(10);
    while (!$ended && select(my $now = $ready, undef, undef, 0.1) >= 0 && time < $deadline) {
        next unless vec $now, fileno $out, 1;
        $ended = !sysread $out, $got, 65536, length $got;
    }
    is(ids($got), last_ids(2), 'a pipe that is open several times: all is given');
    ok($ended && $c->running, '… and its reader comes to the end');
    ack($to, commits(split /\n/, $got));
    $c->wait(15)->exited(0, '… where it replies');
}

# Who replies all the time.
SKIP: {
    my $why = CdcTest::Faults::why_not();
    skip_without(!$why, $why, 3);
    my $name = 'flood';
    begin($name);
    POSIX::mkfifo("$dir/$name/acks", 0600) or die "mkfifo: $!";
    my $faults = CdcTest::Faults->new;
    # in which time others fill it again
    my $rule = $faults->arm(call => 'read', path => "$dir/$name/acks", delay => 0.01, times => 0);
    my $c = start($name, '--ack-mode=reply', '--ack-file', "$dir/$name/acks", { env => $faults->env });
    streaming($c);
    my @yes = map { CdcTest::Process->spawn(argv => ['yes', '0/1'], stdout => ">$dir/$name/acks") } 1, 2;
    wait_until(sub { $faults->fired($rule) > 16 }, 20, 'replies');
    insert();
    ok(eval { $c->read_until(qr/"id":$last_id,/, 10) }, 'endless replies do not keep it from what else there is');
    $c->kill('TERM');
    $c->wait(15)->exited(0, '… nor from its end');
    $_->kill_now for @yes;
    is(ids(run($name)->out), last_ids(1), '… and acknowledge nothing by themselves');
}
lap('replies');

# ---- dead letters ----

{
    $pg->sql('postgres', q(CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'));
    $pg->sql('raw', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
    my $go = sub ($name, @more) { Cdc->start(server => $pg, db => 'raw', args => args($name, -E => 'now', @more))->wait(20) };
    $go->('letters')->exited(0, 'letters: a slot');
    $pg->sql('raw', q(INSERT INTO t VALUES (1, E'b\xffd'), (2, 'good')));
    POSIX::mkfifo("$dir/letters", 0600) or die "mkfifo: $!";
    sysopen my $fifo, "$dir/letters", O_RDWR | O_NONBLOCK or die "FIFO: $!";

    1 while syswrite $fifo, 'x' x 4096;
    my $r = $go->('letters', "--dead-letter=$dir/letters");
    $r->exited(5, 'dead letters: a FIFO that is full and that nobody reads');
    1 while sysread $fifo, my $old, 65536;
    $r = $go->('letters', "--dead-letter=$dir/letters");
    $r->exited(0, 'dead letters: a FIFO');
    is(ids($r->out), '2..2', '… with what is good, as nothing was on record');
    sysread $fifo, my $letter, 65536;
    like($letter, qr/\A\{"lsn":.*\}\n\z/, '… and what is not');
    $pg->sql('raw', q(INSERT INTO t VALUES (3, E'b\xffd'), (4, 'good')));
    $r = $go->('letters', '--dead-letter=/dev/null');
    $r->exited(0, 'dead letters: /dev/null');
    is(ids($r->out), '4..4', '… with what is good');
}
lap('dead letters');

# ---- the command that needs a SIGTERM to begin ----

{
    my $r = $hurry->wait(40);
    $r->exited(0, 'a command that is told to end, and reads then');
    like($r->err, qr/sending it SIGTERM/, '… has got a SIGTERM');
    is(ids(content('hurry/got')), $hurry_ids, '… and all of its input');
    is(accepted('hurry', content('hurry/got')), 1, '… which is on record');
}
lap('the end');

done_testing;
