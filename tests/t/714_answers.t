# What a server may answer, wanted or not: errors of other versions, and bytes that no server sends.
# A listener stands between cdcdump and a real server, passes on what both say, and puts something of
# its own in some place.
use v5.36;
use CdcTest;
use POSIX ();
use Time::HiRes qw(sleep time);

# ---- the listener ----

package Between {
    use v5.36;
    use Socket qw(:DEFAULT IPPROTO_TCP TCP_NODELAY);
    use Time::HiRes qw(sleep time);

    # new($pg, %how), where %how says which connections get something else, and what:
    #   kind    => 'sql' or 'replication'    those alone
    #   times   => 1                         the first ones of that kind alone; undef: all of them
    #   after   => 1                         those behind the first ones of that kind alone
    #   startup => BYTES                     the answer to the startup packet
    #   message => sub ($type, $body, $st)   sees each message of the server; returns what is to be sent
    #                                        in its place, undef = it as it is
    #   then    => 'close', 'hold' (says no more), ['flood', BYTES, PAUSE]: what follows; a message() has
    #              it done by $st->{then}
    #   server  => $other                    these go there
    sub new ($class, $pg, %how) {
        my $self = bless { pg => $pg, how => \%how, log => File::Temp->new }, $class;
        socket my $listener, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
        bind $listener, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
        listen $listener, 20 or die "listen: $!";
        $self->{port} = (unpack_sockaddr_in(getsockname $listener))[0];
        my $parent = $$;
        $self->{pid} = fork // die "fork: $!";
        return $self if $self->{pid};
        eval { $self->_serve($listener, $parent) };
        POSIX::_exit(0);
    }

    sub connstr ($self, $db, %more) {
        return $self->{pg}->connstr($db, tcp => 1, port => $self->{port}, sslmode => 'disable', gssencmode => 'disable', %more);
    }

    # How many connections of that kind there were; how often something was noted: 'flood' and 'asked' by
    # what follows, others by message() with $st->{note}.
    sub count ($self, $kind) { return scalar grep { $_ eq $kind } split /\n/, CdcTest::slurp($self->{log}->filename) }
    sub noted ($self, $word) { return $self->count($word) }

    sub DESTROY ($self) {
        return unless $self->{pid};
        local ($?, $!);
        kill 'KILL', -$self->{pid}, $self->{pid};
        waitpid $self->{pid}, 0;
    }

    sub _note ($self, $word) {
        open my $fh, '>>', $self->{log}->filename or return;
        syswrite $fh, "$word\n";
    }

    sub _serve ($self, $listener, $parent) {
        setpgrp;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        $SIG{PIPE} = $SIG{CHLD} = 'IGNORE';
        while (getppid == $parent) {
            my $ready = '';
            vec($ready, fileno $listener, 1) = 1;
            next unless select($ready, undef, undef, 1) > 0;
            accept my $client, $listener or next;
            my $kind = eval { local $SIG{ALRM} = sub { die }; alarm 10; $self->_read_startup($client) } // 'cancel';
            alarm 0;
            setsockopt $client, IPPROTO_TCP, TCP_NODELAY, 1;
            $self->_note($kind);
            next if $kind eq 'cancel';
            my $pid = fork // die "fork: $!";
            next if $pid;
            close $listener;
            eval { $self->_connection($client, $kind) };
            POSIX::_exit(0);
        }
    }

    sub _exactly ($fh, $n) {
        my $bytes = '';
        while (length $bytes < $n) { sysread $fh, $bytes, $n - length $bytes, length $bytes or die 'end' }
        return $bytes;
    }

    sub _read_startup ($self, $client) {
        my $length = unpack 'N', _exactly($client, 4);
        my $body = _exactly($client, $length - 4);
        return 'cancel' if unpack('N', $body) == 80877102;
        $self->{startup} = pack('N', $length) . $body;
        return $body =~ /\0replication\0database\0/ ? 'replication' : 'sql';
    }

    sub _connection ($self, $client, $kind) {
        my $how = $self->{how};
        my $n = $self->count($kind);
        my $mine = (!$how->{kind} || $how->{kind} eq $kind) && $n <= ($how->{times} // 1e9) && $n > ($how->{after} // 0);
        return $self->_pass($client, $self->{pg}, undef) unless $mine;
        return $self->_pass($client, $how->{server} // $self->{pg}, $how->{message}) unless defined $how->{startup};
        _write($client, $how->{startup});
        $self->_then($client, $how->{then});
    }

    sub _write ($fh, $bytes) {
        my $at = 0;
        while ($at < length $bytes) { $at += syswrite($fh, $bytes, length($bytes) - $at, $at) // die "write: $!" }
    }

    sub _pass ($self, $client, $pg, $message) {
        socket my $server, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
        connect $server, pack_sockaddr_in($pg->port, INADDR_LOOPBACK) or die "connect: $!";
        setsockopt $server, IPPROTO_TCP, TCP_NODELAY, 1;
        _write($server, $self->{startup});
        my ($in, $st) = ('', { note => sub ($word) { $self->_note($word) } });
        while (1) {
            my $ready = '';
            vec($ready, fileno $_, 1) = 1 for $client, $server;
            next unless select($ready, undef, undef, undef) > 0;
            if (vec($ready, fileno $client, 1)) {
                sysread $client, my $bytes, 65536 or return;
                _write($server, $bytes);
            }
            next unless vec($ready, fileno $server, 1);
            sysread $server, $in, 65536, length $in or return;
            while (length $in >= 5) {
                my ($type, $length) = unpack 'aN', $in;
                last if length $in < 1 + $length;
                my $whole = substr $in, 0, 1 + $length, '';
                _write($client, ($message ? $message->($type, substr($whole, 5), $st) : undef) // $whole);
                next unless $st->{then};
                close $server;
                return $self->_then($client, $st->{then});
            }
        }
    }

    # What the client has sent is read first: a socket that is closed over it would send a reset, which
    # overtakes the last bytes.
    sub _then ($self, $client, $then) {
        $then //= 'close';
        if (ref $then) {
            my $bytes = $then->[1] x 100;
            while (1) { _write($client, $bytes); $self->_note('flood'); sleep $then->[2] if $then->[2] }
        }
        shutdown $client, 1 if $then eq 'close';
        while (sysread $client, my $bytes, 65536) { $self->_note('asked') if $then eq 'hold' }
    }
}

package main;

# ---- messages ----

sub message ($type, $body) { return $type . pack('N', 4 + length $body) . $body }

sub response ($type, $severity, $code, $text, %more) {
    my %fields = (S => $severity, V => $severity, C => $code, M => $text, F => 'somewhere.c', L => 1, R => 'anywhere', %more);
    return message($type, join('', map { "$_$fields{$_}\0" } sort keys %fields) . "\0");
}

sub fatal ($code, $text, %more) { return response('E', 'FATAL', $code, $text, %more) }
sub error ($code, $text, %more) { return response('E', 'ERROR', $code, $text, %more) }
sub warning ($code, $text, %more) { return response('N', 'WARNING', $code, $text, %more) }

# ---- a slot with one transaction that has not been read ----

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();
my $state = "$dir/s.json";
my @args = ('-S' => 's', '-m' => 'never', '-e' => 'plain', '-E' => 'now', '--transport' => 'stream', '--state' => $state,
    '--retry-delay' => '0.05');
Cdc->run(server => $pg, db => 'shop', args => \@args)->exited(0, 'a slot');
$pg->sql('shop', q(INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 3) g));
my ($before, $confirmed) = (slurp($state), $pg->slot('s')->{confirmed_flush_lsn});

sub start ($between, @more) {
    return Cdc->start(args => ['-d' => $between->connstr('shop', connect_timeout => 5), @args, @more]);
}

# Nothing has been acknowledged, here and there.
sub untouched ($name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(slurp($state), $before, "$name: the state file is as it was");
    is($pg->slot('s')->{confirmed_flush_lsn}, $confirmed, "$name: nothing has been acknowledged");
}

# Another transaction that has not been read.
sub again () {
    $pg->sql('shop', q(INSERT INTO t SELECT (SELECT max(id) FROM t) + g, repeat('x', 100) FROM generate_series(1, 3) g));
    ($before, $confirmed) = (slurp($state), $pg->slot('s')->{confirmed_flush_lsn});
}

my $last = 0;
sub all_there ($r, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(join(' ', $r->out =~ /"row":\{"id":(\d+)/g), join(' ', map { $last + $_ } 1 .. 3), "$name: every change, once");
    $last += 3;
    again();
}

# Something that passes: with --retries=2 the run goes on after one pause, and nothing is missing.
sub passes ($name, $words, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $between = Between->new($pg, times => 1, %how);
    my $r = start($between, '--retries=2')->wait(20);
    $r->exited(0, "$name: passes");
    like($r->err, $words, "$name: is said");
    is(scalar(() = $r->err =~ /trying again in/g), 1, "$name: one more try");
    is(scalar(() = $r->err =~ /error: |warning: (?!the server warns)/g), 1, "$name: one message") or diag($r->err);
    all_there($r, $name);
}

# Something that does not: the end, at once, although retries are allowed.
sub ends ($name, $status, $words, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $between = Between->new($pg, %how);
    my $r = start($between, '--retries=2')->wait(20);
    $r->exited($status, "$name: status $status");
    like($r->err, $words, "$name: is said");
    unlike($r->err, qr/trying again/, "$name: is not tried again");
    is(scalar(() = $r->err =~ /error: |warning: (?!the server warns)/g), 1, "$name: one message") or diag($r->err);
    untouched($name);
    return $r;
}

my $ready = message('Z', 'I');
sub instead_of_copy ($bytes, $then) {
    return (kind => 'replication', message => sub ($type, $body, $st) {
        return undef if $type ne 'W';
        $st->{then} = $then;
        return $bytes;
    });
}

# ---- refused at the start ----

for my $kind (qw(sql replication)) {
    my @transient = (
        ['57P03', 'the database system is starting up'],
        ['57P03', 'the database system is in recovery mode'],
        ['57P03', 'the database system is not yet accepting connections', D => 'Consistent recovery state has not been yet reached.'],
        ['57P03', 'the database system is shutting down'],
        ['57P01', 'terminating connection due to administrator command'],
        ['57P02', 'terminating connection because of crash of another server process'],
        ['53300', 'sorry, too many clients already'],
        ['08006', 'the way is closed'],
    );
    for my $t (@transient) {
        my ($code, $text, %more) = @$t;
        my $detail = $more{D} ? qr/\nDETAIL:  \Q$more{D}\E/ : qr//;
        passes("$kind, $code, $text", qr/^cdcdump: error: could not connect: .*FATAL:  \Q$text\E$detail$/m,
            kind => $kind, startup => fatal($code, $text, %more));
    }
    my @fatal = (
        [2, '3D000', 'database "shop" does not exist'],
        [2, '28P01', 'password authentication failed for user "postgres"'],
        [2, '28000', 'no pg_hba.conf entry for host "h", user "u", database "d", no encryption'],
        [2, '42501', 'permission denied to start WAL sender', D => 'Only roles with the REPLICATION attribute may start a WAL sender process.'],
        [2, '57P04', 'terminating connection due to conflict with recovery'],
        [1, '08P01', 'invalid startup packet layout'],
        [1, 'XX000', 'something is broken'],
    );
    for my $f (@fatal) {
        my ($status, $code, $text, %more) = @$f;
        my $detail = $more{D} ? qr/\nDETAIL:  \Q$more{D}\E/ : qr//;
        ends("$kind, $code, $text", $status, qr/^cdcdump: error: could not connect: .*FATAL:  \Q$text\E$detail$/m,
            kind => $kind, startup => fatal($code, $text, %more));
    }
}

# ---- what does not pass within the retries ----

for my $l (
    ['at the start', sql => 'connect', startup => fatal('57P03', 'the database system is starting up')],
    ['at START', replication => 'start streaming', instead_of_copy(fatal('57P01', 'terminating connection due to administrator command'), 'close')],
) {
    my ($name, $kind, $doing, %how) = @$l;
    my $between = Between->new($pg, kind => $kind, %how);
    my $r = start($between, '--retries=3')->wait(20);
    $r->exited(3, "does not pass, $name: status 3");
    is(join(' ', $r->err =~ /trying again in (\S+) seconds/g), '0.05 0.1 0.2', "does not pass, $name: the pauses grow, without progress");
    is($between->count($kind), 4, "does not pass, $name: so often it was tried");
    is(scalar(() = $r->err =~ /^cdcdump: error: could not $doing: /mg), 4, "does not pass, $name: each says why");
    is($r->out, '', "does not pass, $name: gives nothing");
    untouched("does not pass, $name");
}

# ---- several hosts ----

# The last one decides; all are told of.
sub two_hosts (@betweens) {
    my $conninfo = $betweens[0]->connstr('shop', connect_timeout => 5, host => '127.0.0.1,127.0.0.1', port => join(',', map { $_->{port} } @betweens));
    return Cdc->start(args => ['-d' => $conninfo, @args, '--retries=1']);
}
sub refusing (@refusal) { return Between->new($pg, startup => fatal(@refusal)) }
{
    my @away = ('57P03', 'the database system is starting up');
    my @wrong = ('28P01', 'password authentication failed for user "postgres"');
    my ($first, $second) = (refusing(@away), refusing(@wrong));
    my $r = two_hosts($first, $second)->wait(20);
    $r->exited(2, 'two hosts, the second refuses for good: status 2');
    is($second->count('sql'), 1, 'two hosts: the second was asked');
    like($r->err, qr/^cdcdump: error: could not connect: .*FATAL:  $away[1]\n.*FATAL:  $wrong[1]$/m, 'two hosts: both reasons are said');
    unlike($r->err, qr/trying again|LOCATION|57P03|28P01/, 'two hosts: and no more');
    untouched('two hosts, the second refuses for good');

    ($first, $second) = (refusing(@away), refusing(@away));
    $r = two_hosts($first, $second)->wait(20);
    $r->exited(3, 'two hosts, both away: status 3');
    is($second->count('sql'), 2, 'two hosts, both away: the second was asked twice');
    unlike($r->err, qr/LOCATION|57P03/, 'two hosts, both away: the reasons, and no more');
    untouched('two hosts, both away');

    $first = refusing(@away);
    $r = two_hosts($first, Between->new($pg))->wait(20);
    $r->exited(0, 'two hosts, the first away: status 0');
    is($r->err, '', 'two hosts, the first away: not a word');
    all_there($r, 'two hosts, the first away');
}

# ---- START_REPLICATION refused ----

passes('START, 55006', qr/^cdcdump: error: could not start streaming: replication slot "s" is active for PID 77$/m,
    instead_of_copy(error('55006', 'replication slot "s" is active for PID 77') . $ready, 'hold'));
passes('START, 57P01', qr/^cdcdump: error: could not start streaming: terminating connection due to administrator command$/m,
    instead_of_copy(fatal('57P01', 'terminating connection due to administrator command'), 'close'));
passes('START, no word', qr/^cdcdump: error: could not start streaming: server closed the connection/m, instead_of_copy('', 'close'));
ends('START, 57P04', 2, qr/^cdcdump: error: could not start streaming: terminating connection due to conflict with recovery$/m,
    instead_of_copy(fatal('57P04', 'terminating connection due to conflict with recovery'), 'close'));
for my $lost (
    ['13 to 15', 'cannot read from logical replication slot "s"', 'This slot has been invalidated because it exceeded the maximum reserved size.'],
    ['16, 17', 'can no longer get changes from replication slot "s"', 'This slot has been invalidated because it was conflicting with recovery.'],
    ['18', 'can no longer access replication slot "s"', 'This replication slot has been invalidated due to "wal_removed".'],
) {
    my ($version, $text, $detail) = @$lost;
    ends("START, 55000 of $version", 4, qr/^cdcdump: error: could not start streaming: \Q$text\E\nDETAIL:  \Q$detail\E\nHINT:  .*begin anew/m,
        instead_of_copy(error('55000', $text, D => $detail) . $ready, 'hold'));
}

# ---- an error in the stream, in mid-transaction ----

sub in_stream ($bytes, $then = 'close') {
    return (kind => 'replication', message => sub ($type, $body, $st) {
        return undef unless $type eq 'd' && $body =~ /\Aw.{24}I/s;
        $st->{then} = $then;
        return message('d', $body) . $bytes;
    });
}

for my $t (
    [\&fatal, '57P01', 'terminating connection due to administrator command'],
    [\&fatal, '57P02', 'terminating connection because of crash of another server process'],
    [\&error, '40001', 'canceling statement due to conflict with recovery', D => 'User was using a logical replication slot that must be invalidated.'],
    [\&error, '53100', 'could not extend file: No space left on device'],
    [\&error, '53200', 'out of memory', D => 'Failed on request of size 4096.'],
    [\&error, '57014', 'canceling statement due to user request'],
    [\&error, '08006', 'the way is closed'],
) {
    my ($how, $code, $text, %more) = @$t;
    my $detail = $more{D} ? qr/\nDETAIL:  \Q$more{D}\E/ : qr//;
    passes("in the stream, $code", qr/^cdcdump: error: could not read the stream: \Q$text\E$detail$/m, in_stream($how->($code, $text, %more)));
}
passes('in the stream, a crash as 13 tells of it', qr/lost the connection/,
    in_stream(warning('57P02', 'terminating connection because of crash of another server process')));
passes('in the stream, its end', qr/the server has ended the stream/, in_stream(message('C', "COPY 0\0")));
passes('in the stream, its end in full', qr/the server has ended the stream|lost the connection/, in_stream(message('c', '') . message('C', "COPY 0\0")));
passes('in the stream, no word', qr/lost the connection/, in_stream(''));

for my $f (
    [2, '57P04', 'terminating connection due to conflict with recovery'],
    [4, '42704', 'publication "cdcdump_s" does not exist', qr/HINT:  .*publication did not exist/],
    [4, '58P01', 'requested WAL segment 000000010000000000000001 has already been removed', qr/HINT:  .*begin anew/],
    [4, '55000', 'can no longer access replication slot "s"', qr/HINT:  .*begin anew/],
    [2, '0A000', 'cannot use different column lists for table "public.t" in different publications'],
    [1, 'XX000', 'invalid memory alloc request size 1153433603', qr/HINT:  .*binary/],
    [1, '54000', 'string buffer exceeds maximum allowed length (1073741823 bytes)'],
    [1, '08P01', 'invalid standby message type "x"'],
) {
    my ($status, $code, $text, $hint) = @$f;
    my $context = 'slot "s", output plugin "pgoutput", in the change callback, associated LSN 0/1234568';
    my $r = ends("in the stream, $code", $status, qr/^cdcdump: error: could not read the stream: \Q$text\E\nDETAIL:  \Q$context\E$/m,
        in_stream(error($code, $text, W => $context)));
    like($r->err, $hint, "in the stream, $code: what to do") if $hint;
}

# A failover slot waits for standbys: the server warns, and goes on when they are there; or it has to
# stop meanwhile.  The SQLSTATEs are those of slots that are lost.
{
    my @waits = ('55000', 'replication slot "standby" specified in parameter "synchronized_standby_slots" does not have active_pid',
        D => 'Logical replication is waiting on the standby associated with replication slot "standby".', R => 'StandbySlotsHaveCaughtup');
    my $between = Between->new($pg, kind => 'replication', message => sub ($type, $body, $st) {
        return undef unless $type eq 'd' && $body =~ /\Aw.{24}I/s;
        return warning(@waits) x 3 . message('d', $body);
    });
    my $r = start($between)->wait(20);
    $r->exited(0, 'a standby that is waited for: status 0');
    is(scalar(() = $r->err =~ /^cdcdump: warning: .*\Q$waits[1]\E\nDETAIL:  \Q$waits[3]\E$/mg), 1, 'a standby that is waited for: is said, once') or diag($r->err);
    all_there($r, 'a standby that is waited for');
    passes('a standby that has been waited for', qr/^cdcdump: error: could not read the stream: \Q$waits[1]\E$/m, in_stream(error(@waits)));
}

# PostgreSQL 18 leaves changes out where 17 fails: nothing that comes after the warning may be taken.
{
    my $bytes = warning('55000', 'skipped loading publication "cdcdump_s"', D => 'The publication does not exist at this point in the WAL.');
    my $r = ends('a publication that is left out', 4, qr/^cdcdump: error: .*skipped loading publication "cdcdump_s"\nDETAIL:  The publication does not exist at this point in the WAL\.\nHINT:  The publication did not exist/m,
        kind => 'replication', message => sub ($type, $body, $st) {
            return undef unless $type eq 'd' && $body =~ /\Aw.{24}I/s && !$st->{said}++;
            return $bytes;    # and the row that it is about is not there; its commit is
        });
    is($r->out, '', 'a publication that is left out: nothing is given');
}

# ---- another server in its place ----

{
    my $other = PgServer->new;
    $other->create_db('shop');
    $other->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (99, 'other')));
    for my $with ('with', 'without') {
        my $slot = "swap_$with";
        $_->sql('shop', "CREATE PUBLICATION cdcdump_$slot FOR TABLE t; SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')") for $pg, $other;
        $other->sql('shop', 'UPDATE t SET id = id + 1');
        my $theirs = $other->slot($slot)->{confirmed_flush_lsn};
        my $between = Between->new($pg, after => 1, server => $other);
        my $c = Cdc->start(args => ['-d' => $between->connstr('shop'), '-S' => $slot, qw(-m never -e plain -v --retry-delay=0.05),
            $with eq 'with' ? ('--state' => "$dir/$slot.json") : ()]);
        $c->wait_stderr(qr/streaming from/);
        $pg->terminate_slot_user($slot) or die 'nobody to terminate';
        my $r = $c->wait(20);
        my $name = "another server, $with a state file";
        $r->exited(2, "$name: status 2");
        like($r->err, qr/^cdcdump: error: .*another database system: /m, "$name: is said");
        unlike($r->err, qr/\(null\)/, "$name: in words for people");
        unlike($r->err, qr/state file/, "$name: without naming what is not there") if $with eq 'without';
        is($r->out, '', "$name: gives nothing of it");
        is($other->slot($slot)->{confirmed_flush_lsn}, $theirs, "$name: nothing has been acknowledged there");
        $pg->sql('shop', "SELECT pg_drop_replication_slot('$slot'); DROP PUBLICATION cdcdump_$slot");
    }
}

# ---- bytes that no server sends ----

# The memory of a run that goes on, in kB; of a sanitizer's build it says nothing.
my $sanitized = slurp($Cdc::BINARY) =~ /__asan_init/;
sub memory ($c) { return $sanitized ? 0 : (slurp('/proc/' . $c->pid . '/status') =~ /^VmRSS:\s+(\d+)/m)[0] }

# Ends in good time with one of these statuses, in no other way, and having acknowledged nothing.
sub survives ($name, $status, $words, %how) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $between = Between->new($pg, %how);
    my $r = start($between, '--retries=0')->wait(20);
    $r->exited($status, "$name: status $status");
    like($r->err, $words, "$name: is said");
    untouched($name);
    return $r;
}

my $authenticated = message('R', pack 'N', 0);
for my $s (
    ['nothing', ''],
    ['the end in a message', substr(fatal('57P03', 'the database system is starting up'), 0, 20)],
    ['another protocol', "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"],
    ['zeros', "\0" x 1000],
    ['a length below the least', 'R' . pack('N', 3)],
    ['a huge length', 'R' . pack('N', 0x7fffffff)],
    ['a negative length', 'E' . pack('N', 0xfffffff0) . 'x'],
    ['an authentication that nobody knows', message('R', pack 'N', 99)],
    ['a row before the time', $authenticated . message('D', pack 'n', 0)],
    ['an error without an end', 'E' . pack('N', 30) . 'SFATAL' . 'x' x 20],
    ['an error of nothing', message('E', "\0")],
    ['a code that is none', fatal("57P03\n\e[31m", 'x')],
) {
    my ($name, $bytes) = @$s;
    survives("at the start, $name", 3, qr/^cdcdump: error: could not connect: /m, startup => $bytes);
}
{
    my $began = time;
    my $between = Between->new($pg, startup => $authenticated, then => 'hold');
    my $r = Cdc->run(args => ['-d' => $between->connstr('shop', connect_timeout => 1), @args], timeout => 20);
    $r->exited(3, 'at the start, silence: status 3');
    like($r->err, qr/could not connect: no answer within 1 second/, 'at the start, silence: is said');
    $between = Between->new($pg, startup => $authenticated, then => ['flood', response('N', 'NOTICE', '00000', 'y' x 1000), 0.05]);
    my $c = Cdc->start(args => ['-d' => $between->connstr('shop', connect_timeout => 1), @args]);
    my $greatest = 0;
    while ($c->running) {
        my $now = eval { memory($c) } // 0;
        $greatest = $now if $now > $greatest;
        sleep 0.02;
    }
    $r = $c->wait(20);
    $r->exited(3, 'at the start, notices without end: status 3');
    cmp_ok($between->noted('flood'), '>', 10, 'at the start, notices without end: there were many');
    cmp_ok($greatest, '<', 32 * 1024, 'at the start, notices without end: memory does not grow');
    cmp_ok(length $r->err, '<', 2000, 'at the start, notices without end: few words');
}

for my $s (
    [1, 'a message of another type', message('d', 'q' . 'x' x 40), qr/message of type 0x71/],
    [1, 'a keepalive that is too long', message('d', 'k' . "\0" x 18), qr/message of type 0x6b and 19 bytes/],
    [1, 'a keepalive that is too short', message('d', 'k' . "\0" x 16), qr/message of type 0x6b and 17 bytes/],
    [1, 'data without a header', message('d', 'w' . "\0" x 20), qr/message of type 0x77 and 21 bytes/],
    [1, 'data without content', message('d', 'w' . "\0" x 24), qr/error: could not/],
    [1, 'a change that nobody knows', message('d', 'w' . "\0" x 24 . '~~~~'), qr/error: could not/],
    [3, 'a length below the least', 'd' . pack('N', 3), qr/lost the connection|could not/],
    [3, 'a huge length', 'd' . pack('N', 0x7fffffff) . 'w', qr/lost the connection|could not/],
    [3, 'a negative length', 'd' . pack('N', 0xffffffff) . 'w', qr/lost the connection|could not/],
    [3, 'the end in a message', substr(message('d', 'k' . "\0" x 17), 0, 9), qr/lost the connection|could not/],
    [3, 'a huge error', 'E' . pack('N', 0x7ffffff0) . "SFATAL\0", qr/lost the connection|could not/],
    [3, 'a type that nobody knows', message('?', 'abc'), qr/lost the connection|could not/],
    [3, 'an error of nothing', message('E', "\0"), qr/lost the connection|could not/],
) {
    my ($status, $name, $bytes, $words) = @$s;
    survives("in the stream, $name", $status, $words, in_stream($bytes));
}

# Answers to questions.
for my $kind (qw(sql replication)) {
    for my $s (
        ['a copy to us', sub ($type, $body) { $type eq 'T' ? message('H', pack 'Cn', 0, 0) : undef }],
        ['a copy from us', sub ($type, $body) { $type eq 'T' ? message('G', pack 'Cn', 0, 0) : undef }],
        ['a row before its columns', sub ($type, $body) { $type eq 'T' ? message('D', pack 'n', 0) : undef }],
        ['more values than columns', sub ($type, $body) { $type eq 'D' ? message('D', pack('n', 500) . "\xff" x 2000) : undef }],
        ['a value that ends behind its row', sub ($type, $body) { $type eq 'D' ? message('D', pack('nN', unpack('n', $body), 0x7fffffff) . 'x') : undef }],
        ['columns without an end', sub ($type, $body) { $type eq 'T' ? message('T', pack('n', 0x7fff) . 'x' x 40) : undef }],
    ) {
        my ($name, $instead) = @$s;
        # Of the second message of that type on, as the encoding may be asked for before.
        my $between = Between->new($pg, kind => $kind, message => sub ($type, $body, $st) { $instead->($type, $body) });
        my $r = start($between, '--retries=0')->wait(20);
        ok(defined $r->exit && $r->exit =~ /\A[123]\z/, "$kind, $name: ends") or diag($r->describe);
        like($r->err, qr/^cdcdump: error: could not /m, "$kind, $name: says why");
        untouched("$kind, $name");
    }
}
# One row of an answer after the other is other than it has to be, until a run has had no such row; some
# runs at a time, as much of each is waiting.
{
    my $together = 4;
    $pg->sql('shop', join ';', map { "CREATE PUBLICATION cdcdump_q$_ FOR TABLE t; SELECT pg_create_logical_replication_slot('q$_', 'pgoutput')" } 1 .. $together);
    my $values = sub ($body, @values) {
        my $n = unpack 'n', $body;
        return message('D', pack('n', $n) . join '', map { $values[$_ % @values] } 0 .. $n - 1);
    };
    my ($null, $empty, $long) = ("\xff\xff\xff\xff", "\0\0\0\0", pack('N', 100) . '9' x 100);
    for my $s (
        ['no row', sub ($body) { '' }],
        ['nothing but NULL', sub ($body) { $values->($body, $null) }],
        ['empty texts and long ones', sub ($body) { $values->($body, $empty, $long) }],
    ) {
        my ($name, $instead) = @$s;
        for my $kind (qw(sql replication)) {
            my $start = sub ($n, $q) {
                my $between = Between->new($pg, kind => $kind, message => sub ($type, $body, $st) {
                    return undef if $type ne 'D' || ++$st->{rows} != $n;
                    $st->{note}->('hit');
                    return $instead->($body);
                });
                return [$n, $between, Cdc->start(args => ['-d' => $between->connstr('shop', connect_timeout => 5),
                    '-S' => "q$q", qw(-m snapshot --snapshot=incremental -e plain --max-time=5 --retries=0)])];
            };
            my ($n, $hits, $wrong, $over) = (0, 0, 0, 0);
            while (!$over && $n < 100) {
                for my $run (map { $start->(++$n, $_) } 1 .. $together) {
                    my ($number, $between, $c) = @$run;
                    my $r = $c->wait(20);
                    $wrong++, diag("row $number: " . $r->describe) unless defined $r->exit && $r->exit < 7;
                    if ($between->noted('hit')) { $hits++ } else { $over = 1 }
                }
            }
            ok($hits > 1 && $over, "$kind, $name: in each of $hits rows of answers");
            is($wrong, 0, "$kind, $name: each run ends by itself");
        }
    }
}

# Goes on and on: memory stays, and a signal ends it, though the server does not listen.
for my $s (
    ['an empty message', message('d', '')],
    ['notices', response('N', 'NOTICE', '00000', 'y' x 1000)],
    ['warnings', warning('01000', 'z' x 1000)],
    ['parameters', message('S', "application_name\0" . 'p' x 1000 . "\0")],
    ['keepalives', message('d', 'k' . pack('Q>Q>C', 0, 0, 1))],
) {
    my ($name, $bytes) = @$s;
    my $between = Between->new($pg, in_stream('', ['flood', $bytes]));
    my $c = start($between);
    wait_until(sub { $between->noted('flood') > 20 || !$c->running }, 20, 'a flood');
    my $first = memory($c);
    my $mark = $between->noted('flood');
    wait_until(sub { $between->noted('flood') > $mark + 50 || !$c->running }, 20, 'more of it');
    ok($c->running, "without end, $name: runs on");
    cmp_ok(memory($c) - $first, '<', 4096, "without end, $name: memory does not grow");
    if ($name eq 'keepalives') { $c->stop('TERM', 10)->exited(0, "without end, $name: a signal ends it") }
    else                       { $c->kill('KILL') }
    cmp_ok(length $c->wait(10)->err, '<', 100_000, "without end, $name: few words");
    untouched("without end, $name");
}
{
    my $between = Between->new($pg, in_stream('d' . pack('N', 0x7fffffff) . 'w' x 1000, 'hold'));
    my $c = start($between, '-v');
    $c->wait_stderr(qr/streaming from/);
    sleep 0.3;
    cmp_ok(memory($c), '<', 32 * 1024, 'a huge length, and no more: memory is not taken before there is something for it');
    $c->stop('TERM', 10)->exited(0, 'a huge length, and no more: a signal ends it');
    untouched('a huge length, and no more');
}

# ---- no answer ----

for my $kind (qw(sql replication)) {
    for my $at ($kind eq 'sql' ? 'Z' : ('Z', 'W')) {
        my $what = $at eq 'W' ? 'START' : "a question, $kind";
        my $between = Between->new($pg, kind => $kind, message => sub ($type, $body, $st) {
            return undef if $type ne $at;
            $st->{note}->('silent');
            $st->{then} = 'hold';
            return $at eq 'Z' ? message($type, $body) : '';
        });
        my $c = start($between);
        wait_until(sub { $between->noted($at eq 'W' ? 'silent' : 'asked') }, 10, 'silence');
        my $r = $c->stop('TERM', 6);
        $r->exited(0, "no answer to $what: a signal ends it");
        untouched("no answer to $what");
    }
}

Cdc->run(server => $pg, db => 'shop', args => \@args)->exited(0, 'and the server itself has what is missing');

done_testing;
