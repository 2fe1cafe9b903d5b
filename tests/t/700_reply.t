# --ack-mode=reply: a transaction is accepted when the reader says so.
use v5.36;
use CdcTest;
use Socket;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int)');
my $dir = scratch();
$SIG{PIPE} = 'IGNORE';    # an acknowledgment to a run that has ended

# Every slot sees all changes, so each part of this test takes one of its own.
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', -e => 'plain', -t => 't', '--state' => "$dir/$name.json", '-v',
        '--status-interval' => '0.1', '--retry-delay' => '0.1', @more];
}

sub begin ($name) {
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, -E => 'now'))->exited(0, "$name: a slot");
}

# The run, and the handle to acknowledge by.
sub reply ($name, @more) {
    pipe my $from, my $to or die "pipe: $!";
    my $c = Cdc->start(server => $pg, db => 'shop', fds => { 3 => $from }, args => args($name, '--ack-mode=reply', '--ack-fd=3', @more));
    close $from;
    return ($c, $to);
}

sub ack ($to, $text) { return defined syswrite $to, $text }

my $last_id = 0;
sub insert ($n = 2, $width = 10) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', $width) FROM generate_series($first, $last_id) g");
    return $last_id;
}

sub ids (@lines) {
    my @ids = map { /"row":\{"id":(\d+)/ ? $1 : () } @lines;
    return @ids ? "$ids[0]..$ids[-1]" . (@ids == $ids[-1] - $ids[0] + 1 ? '' : ' ' . @ids) : '';
}

# The commit LSNs of lines, in their order.
sub commits (@lines) {
    my ($last, @commits) = '';
    for (@lines) {
        my ($commit) = /"commit_lsn":"([^"]+)"/ or next;
        push @commits, $commit if $commit ne $last;
        $last = $commit;
    }
    return @commits;
}

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub saved ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }

# Until cdcdump has sent feedback twice: once with what it knew when that was asked for, at least.
sub feedback ($name) {
    for (1, 2) {
        my $now = $pg->sql('postgres', 'SELECT clock_timestamp()');
        wait_until(sub { $pg->sql('postgres', qq(SELECT count(*) FROM pg_stat_replication r JOIN pg_replication_slots s ON r.pid = s.active_pid
            WHERE slot_name = '$name' AND reply_time > '$now')) }, 15, "feedback for $name");
    }
}

# Whether just the transactions up to that commit LSN are accepted, and no later one.
sub accepts ($name, $commit, $next, $what) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $reached = eval { wait_until(sub { saved($name) > lsn_num($commit) }, 10, 'the position'); 1 };
    my $ok = ok($reached && saved($name) <= lsn_num($next), $what);
    diag(sprintf 'on record: %s, not between %s and %s', lsn_text(saved($name)), $commit, $next) unless $ok;
    return $ok;
}

# ---- options ----

{
    spew("$dir/regular", '');
    open my $regular, '<', "$dir/regular" or die $!;
    pipe my $read_end, my $write_end or die $!;
    my $fifo = "$dir/options.fifo";
    POSIX::mkfifo($fifo, 0600) or die "mkfifo: $!";
    my $r = '--ack-mode=reply';
    my @cases = (
        ['neither', [$r], qr/--ack-fd.*--ack-file|--ack-file.*--ack-fd/],
        ['both', [$r, '--ack-fd=3', '--ack-file', $fifo], qr/--ack-fd.*--ack-file|--ack-file.*--ack-fd/],
        ['--ack-fd alone', ['--ack-fd=3'], qr/--ack-fd.*reply|reply.*--ack-fd/],
        ['--ack-file alone', ['--ack-file', $fifo], qr/--ack-file.*reply|reply.*--ack-file/],
        ['--ack-fd with another mode', ['--ack-mode=read', '--ack-fd=3'], qr/--ack-fd/],
        ['standard output to read from', [$r, '--ack-fd=1'], qr/--ack-fd/],
        ['standard error', [$r, '--ack-fd=2'], qr/--ack-fd/],
        ['a negative one', [$r, '--ack-fd=-1'], qr/descriptor "-1"/],
        ['no number', [$r, '--ack-fd=3x'], qr/descriptor "3x"/],
        ['too large a number', [$r, '--ack-fd=99999999999'], qr/descriptor "99999999999"/],
        ['a descriptor that is not open', [$r, '--ack-fd=9'], qr/--ack-fd.*not open/],
        ['a regular file', [$r, '--ack-fd=4'], qr/--ack-fd.*not a pipe/],
        ['only to be written', [$r, '--ack-fd=5'], qr/--ack-fd.*not open for reading/],
        ['no such FIFO', [$r, '--ack-file', "$dir/none"], qr/\Q$dir\E\/none/],
        ['no FIFO', [$r, '--ack-file', "$dir/regular"], qr/FIFO/],
        ['a folder', [$r, '--ack-file', $dir], qr/FIFO/],
        ['-f FILE', [$r, '--ack-fd=3', -f => "$dir/out"], qr/regular file|reply/],
        ['-f with placeholders', [$r, '--ack-fd=3', -f => "$dir/{table}"], qr/reply/],
    );
    for my $case (@cases) {
        my ($what, $args, $words) = @$case;
        my $result = Cdc->run(server => $pg, db => 'shop', args => args('never', @$args),
            fds => { 3 => $read_end, 4 => $regular, 5 => $write_end });
        $result->exited(2, "refused: $what");
        like($result->err, $words, '… and says so');
        is($result->out, '', '… without output');
    }
    my $result = Cdc->run(server => $pg, db => 'shop', stdout => ">$dir/redirected", args => args('never', $r, '--ack-fd=3'), fds => { 3 => $read_end });
    $result->exited(2, 'refused: standard output is a regular file');
    is($pg->slot('never'), undef, 'none of them creates a slot');
    ok(!-e "$dir/$_", "nor $_") for qw(none out never.json);
    is(slurp("$dir/regular"), '', 'nor writes to a file that is no FIFO');
}

# ---- one after another ----

{
    my $name = 'one';
    begin($name);
    my ($c, $to) = reply($name);
    insert() for 1 .. 7;
    my @lines = $c->read_until(qr/"id":$last_id,/);
    my @commit = commits(@lines);
    is(scalar @commit, 7, 'seven transactions');
    my $before = saved($name);
    feedback($name);
    is(saved($name), $before, 'without an acknowledgment the position does not move');
    is(confirmed($name), $before, 'nor does the slot');
    ack($to, "$commit[0]\n");
    accepts($name, $commit[0], $commit[1], 'acknowledged as X/Y');
    wait_until(sub { confirmed($name) == saved($name) }, 10, 'the slot');
    pass('the slot follows');
    ack($to, lsn_num($commit[1]) . "\n");
    accepts($name, $commit[1], $commit[2], 'acknowledged as a decimal number');
    ack($to, lc "  $commit[2] \t\r\n");
    accepts($name, $commit[2], $commit[3], 'blanks, CR and small letters');
    # Half a line is no line, though it may be a number.
    my ($head, $tail) = (substr($commit[3], 0, -2), substr $commit[3], -2);
    ack($to, "\n \r\n\n$head");
    feedback($name);
    cmp_ok(saved($name), '<=', lsn_num($commit[3]), 'a line that has not ended');
    ack($to, "$tail\n");
    accepts($name, $commit[3], $commit[4], 'a line in pieces');
    ack($to, "$commit[0]\n$commit[3]\n$commit[3]\n0/1\n");
    feedback($name);
    ok($c->running && saved($name) <= lsn_num($commit[4]), 'lower ones and repeated ones are no matter');
    ack($to, "$commit[5]\n$commit[4]\n0/1\n");
    accepts($name, $commit[5], $commit[6], 'a later one holds for those before, and lower ones behind it take nothing back');

    # The last one is still owed: nothing else moves the position.
    $before = saved($name);
    $pg->sql('shop', 'INSERT INTO other VALUES (1)');
    feedback($name);
    is(confirmed($name), $before, 'what is not captured does not move the position over what is owed');
    # the last digit last: the number that is read must be the whole one
    ack($to, $_) for split //, "$commit[6]\n";
    my $end = lsn_num($pg->wal_lsn);
    wait_until(sub { confirmed($name) >= $end }, 15, 'the idle position');
    pass('when nothing is owed, idle positions advance');
    $pg->sql('shop', 'INSERT INTO other VALUES (2)');
    $end = lsn_num($pg->wal_lsn);
    wait_until(sub { confirmed($name) >= $end }, 15, 'the idle position');
    pass('… again');

    insert() for 1 .. 3;
    @lines = $c->read_until(qr/"id":$last_id,/);
    @commit = commits(@lines);
    # what is in the pipe when the signal comes counts
    ack($to, "$commit[0]\n");
    my $r = $c->stop('TERM', 15);
    $r->exited(0, 'SIGTERM with two transactions owed');
    ok(saved($name) > lsn_num($commit[0]) && saved($name) <= lsn_num($commit[1]), 'the one that was acknowledged is on record');
    is(confirmed($name), saved($name), '… and the slot knows');

    ($c, $to) = reply($name, -E => 'now');
    my @again = $c->read_until(qr/"id":$last_id,/);
    is(ids(@again), $last_id - 3 . "..$last_id", 'the next run begins with the first that was not');
    like($again[0], qr/"seq":1,/, '… at its beginning');
    ack($to, "$commit[2]\n");
    $c->wait(15)->exited(0, 'and ends when all is acknowledged');
    cmp_ok(saved($name), '>', lsn_num($commit[2]), '… which is on record');
    ($c, $to) = reply($name, -E => 'now');
    $r = $c->wait(15);
    $r->exited(0, 'with nothing to give it asks for nothing');
    is($r->out, '', '… and gives nothing');
}

# ---- what the LSN may be of ----

{
    my $name = 'debezium';
    begin($name);
    insert();
    my ($c, $to) = reply($name, -e => 'debezium');
    my @lines = $c->read_lines(2);
    my ($of_change) = $lines[1] =~ /"lsn":(\d+)/;
    my ($of_commit) = $lines[1] =~ /"commit_lsn":(\d+)/;
    ack($to, "$of_change\n");
    feedback($name);
    ok($c->running && saved($name) <= $of_change, 'source.lsn does not accept the transaction that it lies in');
    ack($to, "$of_commit\n");
    wait_until(sub { saved($name) > $of_commit }, 10, 'the position');
    $c->stop->exited(0, '… source.commit_lsn does');

    # Some plugins do not tell where a transaction commits: there it is the last of those that it has.
    $name = 'words';
    my @plugin = (-P => 'test_decoding');
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, @plugin, -E => 'now'))->exited(0, "$name: a slot");
    insert();
    insert();
    ($c, $to) = reply($name, @plugin);
    @lines = $c->read_lines(4);
    my @lsn = map { /"lsn":"([^"]+)"/ } @lines;
    ack($to, "$lsn[1]\n");
    accepts($name, $lsn[1], $lsn[2], 'test_decoding: the LSN of the last record accepts a transaction');
    ack($to, "$lsn[2]\n");
    feedback($name);
    cmp_ok(saved($name), '<=', lsn_num($lsn[2]), '… that of another does not');
    ack($to, "$lsn[3]\n");
    wait_until(sub { saved($name) > lsn_num($lsn[3]) }, 10, 'the position');
    $c->stop->exited(0, '… but that of its own last one');

    $name = 'message';
    Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args($name, '--messages', -E => 'now'))->exited(0, "$name: a slot");
    $pg->sql('shop', q(SELECT pg_logical_emit_message(false, 'p', 'hello')));
    insert();
    ($c, $to) = reply($name, '--messages', -E => 'now');
    @lines = $c->read_lines(3);
    my ($message) = $lines[0] =~ /"op":"m","lsn":"([^"]+)"/ or diag($lines[0]);
    ack($to, "$message\n");
    accepts($name, lsn_text(lsn_num($message) - 1), (commits(@lines))[0], 'a message outside of transactions: its own');
    ack($to, (commits(@lines))[0] . "\n");
    $c->wait(15)->exited(0, '… and on');

    # What is behind the position is no matter, whenever it was given.
    ($c, $to) = reply($name);
    ack($to, "$message\n" x 200_000);
    ack($to, (commits(@lines))[0] . "\n");
    insert();
    @lines = $c->read_until(qr/"id":$last_id,/);
    ack($to, (commits(@lines))[0] . "\n");
    wait_until(sub { saved($name) > lsn_num((commits(@lines))[0]) }, 15, 'the position');
    pass('late ones, and very many of them, are no matter');
    $c->stop->exited(0, 'stopped');
}

# ---- too early ----

{
    my $name = 'early';
    begin($name);
    my ($c, $to) = reply($name);
    insert(2);
    my $small = $last_id;
    insert(5000, 200);
    # Not the first lines alone: reading takes what is there.
    my @lines = $c->read_until(qr/"id":$small,/);
    push @lines, $c->read_lines(1);
    my ($first, $large) = commits(@lines);
    ok(length($c->out) < 500_000, 'most of the large transaction is still to be read');
    ack($to, "$large\n");
    accepts($name, $first, $large, 'a transaction of which just the first line was read is not accepted, but those before');
    push @lines, $c->read_until(qr/"id":$last_id,/);
    feedback($name);
    cmp_ok(saved($name), '<=', lsn_num($large), '… nor when the rest has been read');
    ack($to, "$large\n");
    wait_until(sub { saved($name) > lsn_num($large) }, 10, 'the position');
    pass('but when it is acknowledged again');
    $c->stop->exited(0, 'early: stopped');
}

# ---- what is no acknowledgment ----

{
    my $name = 'wrong';
    begin($name);
    my @cases = (
        ['a word', 'hello', qr/hello/],
        ['0/0', '0/0', qr{0/0}],
        ['0', '0', qr/"0"/],
        ['more behind it', sub ($lsn) { "$lsn x" }, qr/ x"/],
        ['a sign', sub ($lsn) { '+' . lsn_num($lsn) }, qr/"\+\d+"/],
        ['two slashes', sub ($lsn) { "$lsn/0" }, qr{/0"}],
        ['half of one', '16/', qr{16/}],
        ['more than 32 bits', '0/100000000', qr{0/100000000}],
        ['more than 64 bits', '18446744073709551617', qr/18446744073709551617/],
        ['far beyond what was sent', sub ($lsn) { lsn_text(lsn_num($lsn) + (1 << 32)) }, qr{\d+/[0-9A-F]+}],
        ['the greatest', 'FFFFFFFF/FFFFFFFF', qr{FFFFFFFF/FFFFFFFF}],
        ['a little beyond', sub ($lsn) { lsn_text(lsn_num($lsn) + 1_000_000) }, qr{\d+/[0-9A-F]+}],
        ['a NUL byte', sub ($lsn) { "$lsn\0" }, qr/error/],
        ['a long line', 'A' x 65, qr/A{10}|64 bytes|too long/],
        ['an endless line', 'A' x 5000, qr/A{10}|64 bytes|too long/, 'no newline'],
        ['many blanks', sub ($lsn) { $lsn . ' ' x 100 }, qr/64 bytes|too long|error/],
    );
    for my $case (@cases) {
        my ($what, $text, $words, $open) = @$case;
        my ($c, $to) = reply($name);
        insert() for 1, 2;
        my @commit = commits($c->read_until(qr/"id":$last_id,/));
        splice @commit, 0, -2;
        $text = $text->($commit[1]) if ref $text;
        ack($to, "$commit[0]\n$text" . ($open ? '' : "\n"));
        my $r = $c->wait(15);
        $r->exited(5, "$what: status 5");
        like($r->err, qr/error: .*acknowledg/, "$what: said to be about an acknowledgment");
        like($r->err, $words, "$what: which is named");
        ok(saved($name) > lsn_num($commit[0]) && saved($name) <= lsn_num($commit[1]), "$what: the one before it counts")
            or diag(lsn_text(saved($name)) . " @commit");
        cmp_ok(confirmed($name), '<=', saved($name), "$what: the slot is not ahead of it");
    }
    # The slot is told, which is what counts without a state file.
    pipe my $from, my $to or die "pipe: $!";
    my $args = [grep { !/\A--state\z|\.json\z/ } @{ args($name, '--ack-mode=reply', '--ack-fd=3') }];
    my $c = Cdc->start(server => $pg, db => 'shop', fds => { 3 => $from }, args => $args);
    close $from;
    insert() for 1, 2;
    my @commit = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, "$commit[-2]\ngarbage\n");
    $c->wait(15)->exited(5, 'without a state file');
    ok(confirmed($name) > lsn_num($commit[-2]) && confirmed($name) <= lsn_num($commit[-1]), 'what was acknowledged before does not come again')
        or diag(lsn_text(confirmed($name)) . " @commit");
    unlink "$dir/$name.json";
    begin($name);

    ($c, $to) = reply($name);
    insert();
    @commit = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, "\e[2Jgarbage\n");
    my $r = $c->wait(15);
    $r->exited(5, 'control characters');
    unlike($r->err, qr/\e/, 'are not handed on to a terminal');
}

# ---- the acknowledger goes ----

{
    my $name = 'gone';
    begin($name);
    my ($c, $to) = reply($name);
    insert() for 1, 2;
    my @commit = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, "$commit[0]\n");
    close $to;
    my $r = $c->wait(15);
    $r->exited(5, 'nobody can acknowledge what is owed');
    like($r->err, qr/error: .*acknowledg/, '… and says so');
    ok(saved($name) > lsn_num($commit[0]) && saved($name) <= lsn_num($commit[1]), '… with the last acknowledgment on record');

    ($c, $to) = reply($name);
    @commit = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, "$commit[-1]\n");
    wait_until(sub { saved($name) > lsn_num($commit[-1]) }, 10, 'the position');
    close $to;
    $c->wait(15)->exited(5, 'idle: nor what will come');

    insert() for 1, 2;
    ($c, $to) = reply($name, -E => 'now');
    my @lines = $c->read_until(qr/"id":$last_id,/);
    @commit = commits(@lines);
    ack($to, "$commit[0]\n");
    # the end of the output comes before the acknowledgments are waited for
    is($c->read_some(65536, 15), 0, 'at a bound standard output is closed');
    sleep 0.5;
    ok($c->running, '… and the acknowledgments are waited for');
    close $to;
    $r = $c->wait(15);
    $r->exited(5, '… status 5 when they will not come');
    my ($far) = lsn_text(saved($name));
    like($r->err, qr{error: .*acknowledg.*|\Q$far\E}s, '… and says how far they came');
    ok(saved($name) > lsn_num($commit[0]) && saved($name) <= lsn_num($commit[1]), '… which is on record');

    ($c, $to) = reply($name, -E => 'now');
    is(ids($c->read_until(qr/"id":$last_id,/)), $last_id - 1 . "..$last_id", 'the next run gives what was not acknowledged');
    is($c->read_some(65536, 15), 0, 'to its end');
    ack($to, "$commit[1]\n");
    close $to;
    $c->wait(15)->exited(0, 'acknowledged just before the descriptor is closed: status 0');
    cmp_ok(saved($name), '>', lsn_num($commit[1]), '… and on record');

    # the reader of the output goes: as ever
    ($c, $to) = reply($name);
    $c->wait_stderr(qr/streaming from/);
    insert() for 1, 2;
    @commit = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, "$commit[0]\n");
    wait_until(sub { saved($name) > lsn_num($commit[0]) }, 10, 'the position');
    $c->close_stdout;
    $c->wait(15)->signaled('PIPE', 'a reader that goes: SIGPIPE');
    ok(saved($name) <= lsn_num($commit[1]), '… and what it had not acknowledged comes again');
}

# ---- a FIFO ----

{
    my $name = 'fifo';
    begin($name);
    my $fifo = "$dir/acks";
    POSIX::mkfifo($fifo, 0600) or die "mkfifo: $!";
    my $args = args($name, '--ack-mode=reply', '--ack-file', $fifo);
    insert() for 1 .. 3;
    # Nobody has it open: it neither waits for a writer nor takes that for an end.
    my $c = Cdc->start(server => $pg, db => 'shop', args => $args);
    my @commit = commits($c->read_until(qr/"id":$last_id,/));
    for my $n (0, 1) {
        open my $to, '>', $fifo or die $!;
        ack($to, "$commit[$n]\n");
        close $to;
        accepts($name, $commit[$n], $commit[$n + 1], 'FIFO: writer ' . ($n + 1) . ' of several');
    }
    $c->stop->exited(0, 'FIFO: stopped');
    my $r = Cdc->run(server => $pg, db => 'shop', args => [@$args, -E => 'now', '--stall-timeout=1']);
    $r->exited(5, 'FIFO: at a bound --stall-timeout ends the wait for acknowledgments');
    is(ids($r->lines), $last_id - 1 . "..$last_id", '… of what was owed');
    cmp_ok(saved($name), '<=', lsn_num($commit[2]), '… and still is');

    # The way it is meant to be used: a reader in a shell.
    spew("$dir/reader", qq(#!/bin/sh\nwhile IFS= read -r line; do\n  printf '%s\\n' "\$line" >> '$dir/got'\n)
        . qq(  lsn=\${line#*'"commit_lsn":"'}; echo "\${lsn%%'"'*}" > '$fifo'\ndone\n));
    insert() for 1 .. 3;
    $r = CdcTest::Process->capture(argv => ['/bin/sh', '-c', qq("\$@" | sh '$dir/reader'; exit 0), 'sh', $Cdc::BINARY,
        -d => $pg->connstr('shop'), @$args, -E => 'now', '--stall-timeout=10']);
    is(ids(split /\n/, slurp("$dir/got")), $last_id - 7 . "..$last_id", 'FIFO: a reader in a shell');
    my $end = saved($name);
    my $rest = Cdc->run(server => $pg, db => 'shop', args => args($name, -E => 'now'));
    is($rest->out, '', '… whose acknowledgments count') or diag($r->{err});
}

# ---- one socket for both ----

{
    my $name = 'socket';
    begin($name);
    insert() for 1, 2;
    socketpair my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    my $c = Cdc->start(server => $pg, db => 'shop', stdin => $theirs, stdout => $theirs, args => args($name, '--ack-mode=reply', '--ack-fd=0', -E => 'now'));
    close $theirs;
    my $got = '';
    while ($got !~ /"id":$last_id,.*\n/ && sysread $ours, $got, 65536, length $got) { }
    is(ids(split /\n/, $got), $last_id - 3 . "..$last_id", 'a socket is read');
    ack($ours, (commits(split /\n/, $got))[-1] . "\n");
    $c->wait(15)->exited(0, '… and acknowledged through');
    cmp_ok(saved($name), '>', lsn_num((commits(split /\n/, $got))[-1]), '… on record');
}

# ---- connections that are lost ----

{
    my $name = 'lost';
    begin($name);
    my ($c, $to) = reply($name);
    my @lines;
    my $streams = sub { scalar(() = $c->stderr =~ /streaming from/g) };
    for my $trouble ([cut => sub { $pg->terminate_slot_user($name) or die 'nothing to cut' }],
        ['immediate restart' => sub { $pg->restart('immediate') }],
        ['fast restart' => sub {
            my $began = time;
            ok(eval { $pg->stop('fast', 15) }, 'a fast stop of the server is not held up by what is owed') or $pg->stop('immediate');
            note sprintf 'stopped in %.2f s', time - $began;
            $pg->start;
        }]) {
        my ($what, $make) = @$trouble;
        insert() for 1, 2;
        my @before = $c->read_until(qr/"id":$last_id,/);
        my $position = saved($name);
        my $n = $streams->();
        $make->();
        wait_until(sub { $streams->() > $n || !$c->running }, 20, 'another connection');
        insert();
        push @lines, @before, my @after = $c->read_until(qr/"id":$last_id,/);
        is(ids(@after), $last_id - 1 . "..$last_id", "$what: nothing comes again in the same run");
        is(saved($name), $position, "$what: what is owed stays owed");
        my @commit = commits(@before, @after);
        ack($to, "$commit[0]\n");
        accepts($name, $commit[0], $commit[1], "$what: an acknowledgment of what was written before it");
        ack($to, "$commit[1]\n");
        accepts($name, $commit[1], $commit[2], "$what: … and of the rest");
    }
    # Acknowledged while the server is away.
    insert();
    push @lines, $c->read_until(qr/"id":$last_id,/);
    $c->wait_written($pg->wal_lsn);    # without its commit it is not there for good
    my $n = $streams->();
    $pg->stop('immediate');
    wait_until(sub { !$pg->running }, 10, 'the end of the server');
    my @commit = commits(@lines);
    ack($to, "$commit[-1]\n");
    wait_until(sub { saved($name) > lsn_num($commit[-1]) }, 10, 'the position');
    pass('while the server is away an acknowledgment goes on record');
    $pg->start;
    wait_until(sub { $streams->() > $n }, 20, 'another connection');
    wait_until(sub { confirmed($name) >= saved($name) }, 10, 'the slot');
    pass('… and the server is told when it is back');
    $c->stop->exited(0, 'lost: stopped');
}

# ---- the server's patience ----

{
    my $name = 'patience';
    begin($name);
    $pg->append_conf({ wal_sender_timeout => '2s' });
    $pg->reload;
    my ($c, $to) = reply($name);
    insert();
    my @lines = $c->read_until(qr/"id":$last_id,/);
    my $pid = $pg->slot($name)->{active_pid};
    my $until = time + 4.5;
    my $n = 1;
    while (time < $until) {
        insert();
        $n++;
        push @lines, $c->read_until(qr/"id":$last_id,/);
        sleep 0.3;
    }
    is($pg->slot($name)->{active_pid}, $pid, 'the connection outlives wal_sender_timeout while acknowledgments are missing');
    my @commit = commits(@lines);
    is(scalar @commit, $n, '… and changes go on coming');
    ack($to, "$commit[-1]\n");
    wait_until(sub { saved($name) > lsn_num($commit[-1]) }, 10, 'the position');
    pass('one acknowledgment at the end accepts all');
    $c->stop->exited(0, 'patience: stopped');
    $pg->append_conf({ wal_sender_timeout => '60s' });
    $pg->reload;
}

# ---- kill -9 ----

{
    my $name = 'killed';
    begin($name);
    my $first = $last_id + 1;
    insert(1 + $_ % 3) for 1 .. 24;
    my ($expect, @wrong) = $first;
    for my $n (1 .. 7) {
        my ($c, $to) = reply($name);
        my @lines = $c->read_until(qr/"id":$last_id,/);
        my ($begins) = $lines[0] =~ /"id":(\d+)/;
        push @wrong, "run $n begins with $begins, not $expect" if $begins != $expect;
        push @wrong, "run $n has " . ids(@lines) if ids(@lines) ne "$expect..$last_id";
        my @commit = commits(@lines);
        my $upto = $commit[2];
        ack($to, "$upto\n");
        wait_until(sub { saved($name) > lsn_num($upto) }, 10, 'the position');
        ($expect) = map { /"id":(\d+)/ } grep { lsn_num((commits($_))[0]) > lsn_num($upto) } @lines;
        push @wrong, "run $n was over" unless $c->kill('KILL');
        $c->wait;
    }
    is(join("\n", @wrong), '', 'killed: each run begins with the first transaction that was not acknowledged');
}

# ---- many ----

{
    my $name = 'many';
    begin($name);
    my $first = $last_id + 1;
    $last_id += 6000;
    $pg->sql('shop', "DO \$\$ BEGIN FOR i IN $first .. $last_id LOOP INSERT INTO t VALUES (i, 'x'); COMMIT; END LOOP; END \$\$");
    my ($c, $to) = reply($name);
    my @commit = commits($c->read_until(qr/"id":$last_id,/));
    is(scalar @commit, 6000, 'six thousand transactions are owed');
    for my $n (1, 2222, 4097, 5998) {
        ack($to, "$commit[$n]\n");
        accepts($name, $commit[$n], $commit[$n + 1], "… and accepted up to the one that is named: $n");
    }
    ack($to, "$commit[-1]\n");
    wait_until(sub { saved($name) > lsn_num($commit[-1]) }, 10, 'the position');
    $c->stop->exited(0, 'many: stopped');
}

# ---- rows ----

$pg->sql('shop', 'TRUNCATE t; INSERT INTO t SELECT g FROM generate_series(1, 300) g');
$last_id = 300;
for my $kind ('consistent', 'incremental') {
    my $name = "rows_$kind";
    my @more = ('-m' => 'initial', "--snapshot=$kind", -E => 'now', $kind eq 'incremental' ? '--chunk-size=100' : ());
    my $lsn_of = sub ($line) { $line =~ /"lsn":"([^"]+)"/ ? $1 : undef };
    my ($c, $to) = reply($name, @more);
    my @lines = $c->read_lines(300);
    is(scalar(grep { /^\{"op":"r"/ } @lines), 300, "$kind: the rows");
    ok(!(grep { !defined $lsn_of->($_) } @lines), "$kind: have an LSN");
    close $to;
    $c->wait(15)->exited(5, "$kind: which nobody acknowledges");

    ($c, $to) = reply($name, @more);
    @lines = $c->read_lines(300);
    is(scalar(grep { /^\{"op":"r"/ } @lines), 300, "$kind: the rows again");
    ack($to, $lsn_of->($lines[-1]) . "\n");
    if ($kind eq 'consistent') {
        is($c->read_some(65536, 15), 0, "$kind: and no more");
    }
    $c->wait(15)->exited(0, "$kind: acknowledged by the LSN that they are as of");
    insert();
    ($c, $to) = reply($name, @more);
    my @then = $c->read_until(qr/"id":$last_id,/);
    is(ids(@then), $last_id - 1 . "..$last_id", "$kind: then the changes alone");
    ack($to, (commits(@then))[-1] . "\n");
    $c->wait(15)->exited(0, "$kind: to the end");
    last if $kind eq 'incremental';
    $pg->sql('shop', "DELETE FROM t WHERE id > 300");
    $last_id = 300;
}

done_testing;
