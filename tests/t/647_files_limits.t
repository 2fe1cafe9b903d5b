# Several output files where something is not what it was or fails: files that the state file names, a run
# without one, a disk that is full.  Many of them: 649_files_many.t.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_wal_senders => 40 });
my $top = scratch();
my ($began, $part) = (time, 'start');
sub lap ($next) { note sprintf '%s: %.1f s', $part, time - $began; ($began, $part) = (time, $next) }

my @quick = ('--status-interval' => '0.2', '--retry-delay' => '0.1');
sub args ($slot, @more) { return [-S => $slot, '-v', '-e' => 'plain', '-m' => 'never', '--state' => "$top/$slot.json", @quick, @more] }
sub start ($db, $slot, @more) {
    my %how = ref $more[0] ? %{ shift @more } : ();
    return Cdc->start(server => $pg, db => $db, stdout => 'null', args => args($slot, @more), %how);
}
sub run ($db, $slot, @more) { return start($db, $slot, @more)->wait }
sub streaming ($c) { $c->wait_stderr(qr/streaming from/); return $c }
sub state_of ($slot) { return JSON::PP->new->decode(slurp("$top/$slot.json")) }
sub files ($dir) { return map { s{.*/}{}r } glob "$dir/*" }
sub under_way ($dir) { return grep { /\.partial\z/ } files($dir) }
sub ids ($dir, @files) { return join ' ', sort { $a <=> $b } map { map { $_->{row}{id} } records(slurp("$dir/$_")) } @files }

sub folder ($name) { mkdir "$top/$name" or die "$top/$name: $!"; return "$top/$name" }

# ---- strace ----

my $strace = CdcTest::Process::find_program('strace');
my $strace_works = $strace && eval {
    CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
};

# ---- a state file, and files that are not what it says ----

lap('changed');
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
my $id = 0;

# A file with an accepted part, of a run that was killed; and what the state file says of it.
sub killed ($slot, $dir, $n = 3, @more) {
    my $c = streaming(start('shop', $slot, -f => "$dir/{table}-{lsn}", @more));
    my $first = $id + 1;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($first, $id + $n) g");
    $id += $n;
    wait_until(sub { -e "$top/$slot.json" && (state_of($slot)->{files}[0]{length} // 0) > 0 }, 30, 'an accepted part');
    $c->kill('KILL');
    $c->wait->signaled('KILL', "$slot: killed");
    my ($entry) = @{ state_of($slot)->{files} };
    ok(-e "$entry->{path}.partial" && !-e $entry->{path}, "$slot: it is under way");
    return $entry->{path};
}

{
    my $dir = folder('changed');
    my $path = killed('changed', $dir);
    my $good = slurp("$path.partial");
    my $again = sub { return run('shop', 'changed', -E => 'now', -f => "$dir/{table}-{lsn}") };
    my $state = slurp("$top/changed.json");
    my $refused = sub ($name) {
        my $r = $again->();
        $r->exited(2, "$name: refused");
        like($r->err, qr/\Q$path\E(\.partial)?" does not fit the state file/, "$name: says which");
        is(slurp("$top/changed.json"), $state, "$name: the state file is as it was");
    };
    # in place, so that the inode stays
    my $put = sub ($bytes) { open my $fh, '+<:raw', "$path.partial" or die $!; truncate $fh, 0; print $fh $bytes; close $fh };
    $put->($good =~ s/x{3}/yyy/r);
    $refused->('changed');
    $put->(substr $good, 0, -1);
    $refused->('shorter');
    $put->('');
    $refused->('emptied');
    $put->($good . '{"op":"c", torn');
    my $r = $again->();
    $r->exited(0, 'longer: goes on');
    like($r->err, qr/cutting output file "\Q$path\E\.partial" back to the \d+ bytes/, 'longer: is cut');
    is(slurp($path), $good, 'longer: has what was accepted');
    is(ids($dir, files($dir)), join(' ', 1 .. $id), 'longer: every change once');

    # Restored from a copy: another inode, the same bytes.
    $path = killed('changed', $dir);
    $good = slurp("$path.partial");
    rename "$path.partial", "$path.moved" or die $!;
    spew("$path.partial", $good);
    unlink "$path.moved";
    $r = $again->();
    if ($r->exit == 2) {
        like($r->err, qr/does not fit the state file/, 'a copy: refused');
        rename "$path.partial", $path or die $!;
        $again->()->exited(0, 'and with it out of the way it goes on');
    } else {
        $r->exited(0, 'a copy: goes on');
        is_deeply([under_way($dir)], [], 'a copy: is not left under way');
    }
    is(ids($dir, grep { !/partial/ } files($dir)), join(' ', 1 .. $id), 'a copy: every change once');
    unlink glob "$dir/*.partial";

    # Another file of that name, with other content.
    $path = killed('changed', $dir);
    $state = slurp("$top/changed.json");
    $good = slurp("$path.partial");
    rename "$path.partial", "$path.moved" or die $!;
    spew("$path.partial", "somebody's\n");
    $r = $again->();
    $r->exited(2, 'replaced: refused, as the one output file is');
    is(slurp("$path.partial"), "somebody's\n", 'replaced: is left alone');
    rename "$path.moved", "$path.partial" or die $!;
    $again->()->exited(0, 'put back: goes on');
    is(ids($dir, grep { !/partial|moved/ } files($dir)), join(' ', 1 .. $id), 'put back: every change once');

    # Gone, with what had been accepted of it.
    unlink glob "$dir/*";
    $path = killed('changed', $dir);
    $good = slurp("$path.partial");
    rename "$path.partial", "$top/kept" or die $!;
    $r = $again->();
    like($r->err, qr/"\Q$path\E(?:\.partial)?" (?:is missing|does not fit the state file: it is missing)/, 'gone: said');
    $r->exited(2, 'gone: refused, as the one output file is');
    rename "$top/kept", "$path.partial" or die $!;
    $again->()->exited(0, 'gone and back: goes on');
    unlink glob "$dir/*";

    # A run that is killed when a file has its name, and before the state file has forgotten it.
    my $completed = sub ($f) {
        for (1 .. 20) {
            my $c = streaming(start('shop', 'changed', -f => "$dir/$f", '--rotate' => '1B'));
            $pg->sql('shop', "INSERT INTO t VALUES (@{[++$id]}, 'x')");
            wait_until(sub { grep { !/partial/ } files($dir) }, 30, 'a complete file');
            $c->kill('KILL');
            $c->wait;
            return 1 if @{ state_of('changed')->{files} // [] } == 1;
            unlink glob "$dir/*";
        }
        return 0;
    };

    # What cannot be gone on from is not to keep the rest of this file from being run.
    my $goes_on = sub ($name) {
        my $r = $again->();
        unlink "$top/changed.json" unless $r->exited(0, $name);
    };

    # Its reader has taken it away already.
    ok($completed->('{table}-{lsn}'), 'the state file has not forgotten a complete file yet');
    unlink glob "$dir/*";
    $r = $again->();
    $r->exited(0, 'a complete file has been taken away');
    unlike($r->err, qr/warning/, 'nothing is said of that');
    is_deeply([files($dir)], [], 'and nothing of it comes again');

    # The same, and another process has a file of that name under way by now.
    # (Moved, not removed: a file of its inode would be taken for it.)
    ok($completed->('{table}'), 'once more');
    rename $_, "$top/taken" or die "$_: $!" for glob "$dir/*";
    spew("$dir/t.partial", "another's\n");
    $goes_on->("another's file under way");
    is(slurp("$dir/t.partial"), "another's\n", "another's file under way: is left alone");
    unlink glob "$dir/*";
    $again->()->exited(0, 'without it');
    unlink glob "$dir/*";

    # A run that completes what was left and then fails: the reader of the files may be quicker than the next.
    $path = killed('changed', $dir);
    my $failed = run('shop', 'changed', -E => 'now', -f => "$dir/{table}-{lsn}", -t => 'nothing_of_that_name');
    isnt($failed->exit, 0, 'a run that fails early');
    note $failed->err;
    SKIP: {
        skip('it has not completed what was left', 2) unless -e $path;
        unlink $path;
        $goes_on->('what the failed run has completed has been taken away: goes on');
        is_deeply([files($dir)], [], 'and nothing of it comes again');
    }
    $again->();
    unlink glob "$dir/*";

    # Killed when it has been completed under another name: first a run that is not, to see which call it is.
    SKIP: {
        skip_without($strace_works, 'strace cannot inject signals here', 10);
        my $calls = sub (@inject) {
            $path = killed('changed', $dir);
            $good = slurp("$path.partial");
            spew($path, "another\n");
            return start('shop', 'changed', { env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
                wrap => [$strace, '-qq', '-o', "$top/trace", '-e', 'trace=renameat2,fsync', @inject] }, -E => 'now', -f => "$dir/{table}-{lsn}")->wait;
        };
        $calls->()->exited(0, 'completed under another name');
        my ($before) = slurp("$top/trace") =~ /\A((?:.*\n)*?.*_1".*= 0\n)/;
        my $number = 1 + (() = $before =~ /^fsync/mg);
        unlink glob "$dir/*";
        my $r = $calls->('-e', "inject=fsync:signal=KILL:when=$number");
        $r->signaled('KILL', 'killed right after the rename');
        ok(-e "${path}_1", 'when it had its name');
        $goes_on->('killed when it had been completed under another name: goes on');
        is_deeply([under_way($dir)], [], 'none is under way');
        is(scalar(grep { slurp("$dir/$_") eq $good } files($dir)), 1, 'the content is there, once');
        unlink glob "$dir/*";
    }

    # Put there by others while it was under way.
    $path = killed('changed', $dir);
    $good = slurp("$path.partial");
    spew($path, "another\n");
    $again->()->exited(0, 'its name has been taken meanwhile');
    is(slurp($path), "another\n", 'that file stays');
    is_deeply([under_way($dir)], [], 'none is under way');
    my ($other) = grep { "$dir/$_" ne $path } files($dir);
    is(slurp("$dir/$other"), $good, 'and the content is there under another name');
}

# ---- without a state file ----

lap('stateless');
{
    my $dir = folder('stateless');
    my @args = (server => $pg, db => 'shop', stdout => 'null', args => ['-S', 'less', '-v', '-m', 'never', '-e', 'plain', @quick, '-f', "$dir/{table}"]);
    my $c = streaming(Cdc->start(@args));
    $pg->sql('shop', "INSERT INTO t VALUES (@{[++$id]}, 'x')");
    wait_until(sub { -s "$dir/t.partial" }, 30, 'a file');
    $c->kill('KILL');
    $c->wait;
    my $left = slurp("$dir/t.partial");
    $c = streaming(Cdc->start(@args));
    $pg->sql('shop', "INSERT INTO t VALUES (@{[++$id]}, 'x')");
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'stateless: goes on after a kill');
    is(slurp("$dir/t.partial"), $left, 'stateless: what was under way is left alone');
    my @complete = grep { !/partial/ } files($dir);
    my @ids = map { map { $_->{row}{id} } records(slurp("$dir/$_")) } @complete;
    is_deeply([grep { $_ == $id } @ids], [$id], "stateless: what comes is complete: @complete: @ids");
}

# ---- the disk ----

lap('disk');
# A file that would grow above 200 kB: like a disk that is full (and SIGXFSZ is ignored).
{
    my $dir = folder('full');
    run('shop', 'full', -E => 'now', -f => "$dir/{table}")->exited(0, 'a slot');
    my $first = $id + 1;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series($first, $first + 499) g") && ($id += 0) if 0;
    $pg->sql('shop', join ';', map { "INSERT INTO t VALUES ($_, repeat('x', 1000))" } $first .. $first + 499);
    $id += 500;
    for my $format (qw(ndjson avro)) {
        my $slot = "full_$format";
        my $in = folder($slot);
        $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('full', '$slot')");
        my @how = (-F => $format, $format eq 'avro' ? ('--codec' => 'null') : (), '--publication' => 'cdcdump_full', -f => "$in/{table}", -E => 'now');
        # bash counts in units of 1 kB
        my $r = start('shop', $slot, { wrap => ['bash', '-c', 'trap "" XFSZ; ulimit -f 200; exec "$@"', 'bash'] }, @how)->wait;
        $r->exited(5, "$format: a file that cannot grow");
        like($r->err, qr/could not write to .*\.partial": File too large|could not write to .*\.partial: File too large/, "$format: says why");
        is_deeply([grep { !/partial/ } files($in)], [], "$format: nothing is complete");
        run('shop', $slot, @how)->exited(0, "$format: the next run");
        is_deeply([under_way($in)], [], "$format: nothing is under way");
        if ($format eq 'ndjson') {
            is(ids($in, files($in)), join(' ', $first .. $id), "$format: every change once");
        } else {
            cmp_ok(scalar(() = slurp("$in/t") =~ /x{1000}/g), '==', 500, "$format: every change once");
        }
    }
    SKIP: {
        skip_without($strace_works, 'strace cannot inject errors here', 4);
        my @steps = ([fdatasync => 'EIO', 1], [fdatasync => 'ENOSPC', 2], [renameat2 => 'EACCES', 1], [mkdir => 'ENOSPC', 1],
            [renameat2 => 'EINVAL', '1+'], [fsync => 'EIO', 3]);
        for my $step (@steps) {
            my ($call, $error, $n) = @$step;
            my $slot = lc "e_${call}_$error";
            my $in = folder($slot);
            $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('full', '$slot')");
            my @how = ('--publication' => 'cdcdump_full', -f => "$in/new/{table}", '--rotate' => '300kB', -E => 'now');
            my $r = start('shop', $slot, { env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
                wrap => [$strace, '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:error=$error:when=$n"] }, @how)->wait;
            my $fine = $error eq 'EINVAL';    # a file system that cannot rename like that: another way
            $r->exited($fine ? 0 : 5, "$call, $error: exit status");
            like($r->err, $fine ? qr/\A(?!.*error)/s : qr/error: could not /, "$call, $error: says why");
            run('shop', $slot, @how)->exited(0, "$call, $error: the next run");
            is_deeply([under_way("$in/new")], [], "$call, $error: nothing is under way");
            is(ids("$in/new", files("$in/new")), join(' ', $first .. $id), "$call, $error: every change once");
        }
    }
}

lap('end');
done_testing;
