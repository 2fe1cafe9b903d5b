# PgServer - a private, throwaway PostgreSQL server for one test.
#
#   my $pg = PgServer->new;                       # initdb and start: about a second
#   $pg->create_db('shop');
#   $pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY)');
#   my $rows = $pg->query('shop', 'SELECT id, name FROM t');         # [[1, 'x'], [2, undef]]
#
# new(%opts):
#   tcp        => 0      no 127.0.0.1 port (default: one that was free)
#   fsync      => 1      durable (default: off)
#   extra_conf => text, or {name => value, ...}: goes to the end of postgresql.conf
#   initdb     => [...]  more arguments of initdb, for example ['--wal-segsize=1']
#   start      => 0      do not start yet
#   backup_of  => $pg    a physical copy (pg_basebackup) of a running server: the same system
#                        identifier, its own future
#   standby    => 1      with backup_of: follows that server; see promote()
#
# Several of them:
#   my $b = PgServer->new(backup_of => $a, standby => 1);
#   $b->wait_replayed($a->wal_lsn);               # it is where the primary was
#   $b->detach;                                   # gets no more WAL; attach() ends that
#   $b->take_slot($a, 's');                       # a slot, carried over by hand; restarts $b
#   $a->stop;  $b->promote;  $a->follow($b);      # the old primary becomes a standby
#   PgServer::hosts('shop', [$a, $b], target_session_attrs => 'read-write')    # of one connection string
#
# It has its own data directory and socket directory under a short temporary path and never
# runs as root: a test run by root starts it as "postgres", or else "nobody".  The superuser is
# "postgres", everyone is trusted.  The binaries are those of $CDCDUMP_PG_BINDIR, else of the
# newest /usr/lib/postgresql/*/bin, else of pg_config.  It is stopped and removed when the object
# goes, the test ends, dies or is interrupted.
#
# SQL text and results are character strings; a test with non-ASCII literals says "use utf8".
package PgServer;
use v5.36;

use Encode qw(encode_utf8 decode_utf8);
use File::Copy ();
use File::Path ();
use File::Temp ();
use JSON::PP ();
use Scalar::Util qw(weaken);
use Socket;
use Test::More ();
use Time::HiRes qw(sleep time);

use CdcTest::Process;

my %servers;    # address -> weak reference

CdcTest::Process::at_end(sub { $_ && $_->remove for values %servers });

# ---- where and who ----

sub bindir {
    state $bindir = _find_bindir();
    return $bindir;
}

sub _find_bindir {
    return $ENV{CDCDUMP_PG_BINDIR} if $ENV{CDCDUMP_PG_BINDIR};
    my ($newest) = sort { ($b =~ m{/([0-9.]+)/bin})[0] <=> ($a =~ m{/([0-9.]+)/bin})[0] }
        grep { -x "$_/postgres" } glob '/usr/lib/postgresql/[0-9]*/bin';
    return $newest if $newest;
    my $pg_config = CdcTest::Process::find_program('pg_config');
    chomp(my $bindir = $pg_config ? `$pg_config --bindir` : '');
    return $bindir if -x "$bindir/postgres";
    die "no PostgreSQL server found; run tests/setup server, or set CDCDUMP_PG_BINDIR\n";
}

# The user that servers run as: undef for oneself.
sub _server_user {
    return undef if $> != 0;
    for my $name (qw(postgres nobody)) {
        my (undef, undef, $uid, $gid) = getpwnam $name or next;
        return [$uid, $gid, $name];
    }
    die "PostgreSQL does not run as root, and there is neither a user postgres nor nobody\n";
}

# Major version as a number: 15.  Of the binaries, so it needs no running server.
sub version {
    state $version = do {
        my $bindir = bindir();
        my ($major) = `$bindir/postgres --version` =~ /\) ([0-9]+)/
            or die "$bindir/postgres does not tell its version\n";
        $major;
    };
    return $version;
}

sub free_port {
    socket my $s, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $s, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    return (unpack_sockaddr_in(getsockname $s))[0];
}

# ---- life ----

sub new ($class, %opts) {
    # The path of a socket must fit into 107 bytes.
    my $parent = $ENV{TMPDIR} && length $ENV{TMPDIR} < 60 ? $ENV{TMPDIR} : '/tmp';
    my $self = bless {
        %opts{ grep { exists $opts{$_} } qw(fsync extra_conf initdb standby) },
        tcp  => $opts{tcp} // 1,
        user => _server_user(),
        dir  => File::Temp->newdir('cdctest-XXXXXX', DIR => $parent),
    }, $class;
    weaken($servers{$self} = $self);
    $self->{data} = "$self->{dir}/data";
    $self->{sock} = "$self->{dir}/s";
    $self->{log}  = "$self->{dir}/log";
    chmod 0755, "$self->{dir}";
    for my $dir (@$self{qw(data sock)}) {
        mkdir $dir, 0700 or die "could not create directory \"$dir\": $!\n";
        chown $self->{user}[0], $self->{user}[1], $dir if $self->{user};
    }
    chmod 0755, $self->{sock};
    if   ($opts{backup_of}) { $self->_copy_of($opts{backup_of}) }
    else                    { $self->_initdb }
    $self->_configure;
    $self->start if $opts{start} // 1;
    return $self;
}

# Runs one of the server's programs as the server's user; dies when it fails.
sub _tool ($self, $name, @args) {
    my $r = CdcTest::Process->capture(
        argv => [bindir() . "/$name", @args],
        user => $self->{user}, cwd => "$self->{dir}", timeout => 300,
        env => { HOME => "$self->{dir}" },
    );
    die "$name failed: $r->{err}" if $r->{exit};
    return $r->{out};
}

sub _initdb ($self) {
    my $kept = $self->{initdb} ? undef : _kept_initdb();
    return _copy("$kept/.", $self->{data}) if $kept && -d $kept;
    $self->_tool('initdb', '-D', $self->{data}, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8',
        '--no-locale', '-N', @{ $self->{initdb} // [] });
    return if !$kept;
    my $new = "$kept.$$";
    _copy($self->{data}, $new);
    rename $new, $kept or File::Path::remove_tree($new);    # another test may have been quicker
}

# What initdb has made for another test, so that not each of them has to wait for it.  The first server
# of a test takes it; others need a system identifier of their own.
sub _kept_initdb () {
    state $taken = 0;
    my $cache = $ENV{CDCTEST_CACHE} or return;
    return if $taken++;
    my $version = qx("@{[bindir()]}/postgres" --version) =~ tr/A-Za-z0-9.+~-/_/cr;
    return "$cache/initdb-$version";
}

sub _copy ($from, $to) {
    system('cp', '-a', '--reflink=auto', $from, $to) == 0 or die "could not copy \"$from\"\n";
}

sub _copy_of ($self, $other) {
    my %env = %{ $other->env };
    # the name of a database is for the synchronization of slots (17+), nothing else heeds it
    $self->{primary} = "host=$env{PGHOST} port=$env{PGPORT} user=postgres dbname=postgres";
    $self->_tool('pg_basebackup', '-D', $self->{data}, '-d', $self->{primary}, '-c', 'fast', '-N');
}

# Server minors of August 2026 refuse output plugins that this setting does not name; the ones
# before do not start with a setting that they do not know.
sub _knows_plugin_libraries ($self) {
    state $knows = eval { $self->_tool('postgres', '-D', $self->{data}, '-C', 'output_plugin_libraries'); 1 } // 0;
    return $knows;
}

sub _configure ($self) {
    my %conf = (
        listen_addresses        => $self->{tcp} ? '127.0.0.1' : '',
        unix_socket_directories => $self->{sock},
        wal_level               => 'logical',
        max_wal_senders         => 20,
        max_replication_slots   => 20,
        max_prepared_transactions => 10,
        fsync                   => $self->{fsync} ? 'on' : 'off',
        autovacuum              => 'off',
        shared_buffers          => '32MB',
        log_line_prefix         => '%m [%p] %q%u@%d/%a ',
        log_replication_commands => 'on',
        log_timezone            => 'UTC',
        timezone                => 'UTC',
    );
    $conf{output_plugin_libraries} = 'pgoutput, test_decoding, wal2json, decoderbufs'
        if $self->_knows_plugin_libraries;
    if ($self->{standby}) {
        $conf{primary_conninfo} = $self->{primary};
        $conf{hot_standby_feedback} = 'on';
        open my $fh, '>', "$self->{data}/standby.signal" or die "standby.signal: $!";
    }
    $self->append_conf(\%conf);
    $self->append_conf($self->{extra_conf}) if $self->{extra_conf};
}

# Adds settings, as text or as {name => value}; reload() or restart() makes them count.
sub append_conf ($self, $conf) {
    my $quoted = sub ($v) { "'" . ($v =~ s/'/''/gr) . "'" };
    my $text = ref $conf ? join('', map { "$_ = " . $quoted->($conf->{$_}) . "\n" } sort keys %$conf) : $conf;
    my $path = "$self->{data}/postgresql.conf";
    open my $fh, '>>', $path or die "could not open \"$path\": $!\n";
    print $fh "\n$text\n";
    close $fh or die "could not write \"$path\": $!\n";
}

sub reload ($self) { $self->{process}->kill('HUP'); sleep 0.1 }

# A port that was free may be taken before the server has it: then another one, first time only.
sub start ($self) {
    my $tries = $self->{port} ? 1 : 5;
    while ($tries--) {
        my $port = $self->{port} // free_port();
        my $mark = -s $self->{log} // 0;
        if ($self->_start_on($port)) {
            $self->{port} = $port;
            return $self;
        }
        my $said = substr $self->log_text, $mark;
        next if $tries && $said =~ /Address already in use|could not bind/;
        die "PostgreSQL did not start:\n$said";
    }
}

sub _start_on ($self, $port) {
    die "the server is running already\n" if $self->running;
    $self->{process} = CdcTest::Process->spawn(
        argv   => [bindir() . '/postgres', '-D', $self->{data}, '-p', $port],
        stdin  => 'null', stdout => ">>$self->{log}", stderr => ">>$self->{log}",
        user   => $self->{user}, cwd => "$self->{dir}", death => 'QUIT',
        env    => { PGPORT => undef, PGDATA => undef, LC_ALL => 'C' },
    );
    my $deadline = time + CdcTest::Process::patient(60);
    while ($self->{process}->running) {
        return 1 if $self->_accepts;
        die "PostgreSQL did not get ready:\n" . $self->log_text if time > $deadline;
        sleep 0.01;
    }
    return 0;
}

# What pg_ctl looks at: line 8 of postmaster.pid says "ready" (or "standby"); line 1 must be the
# one just started and not left by a crash.
sub _accepts ($self) {
    open my $fh, '<', "$self->{data}/postmaster.pid" or return 0;
    chomp(my @lines = <$fh>);
    return ($lines[0] // '') eq $self->pid && ($lines[7] // '') =~ /\A(ready|standby)\s*\z/;
}

sub pid     ($self) { return $self->{process} && $self->{process}->pid }
sub running ($self) { return $self->{process} && $self->{process}->running }

# Modes as pg_ctl's: smart, fast, immediate.  Dies when the server has not stopped in $timeout
# seconds: something holds it up.
sub stop ($self, $mode = 'fast', $timeout = 60) {
    return $self unless $self->running;
    my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');
    $self->{process}->kill($signal{$mode} // die "unknown mode \"$mode\"\n");
    $self->{process}->wait_exit($timeout)
        or die "PostgreSQL did not stop ($mode) within $timeout seconds:\n" . $self->log_text;
    return $self;
}

sub restart ($self, $mode = 'fast', $timeout = 60) {
    return $self->stop($mode, $timeout)->start;
}

# A crash: postmaster and every process of it at once; back when all are gone.
sub kill9 ($self) {
    return $self unless $self->running;
    my @children = CdcTest::Process::children_of($self->pid);
    $self->{process}->kill('KILL');
    CORE::kill('KILL', @children) if @children;
    $self->{process}->wait_exit(30);
    # Its children are not ours, so they cannot be waited for; init reaps them.
    wait_until(sub { !grep { _alive($_) } @children }, 30, 'end of the server processes');
    return $self;
}

sub _alive ($pid) {
    open my $fh, '<', "/proc/$pid/stat" or return 0;
    return (<$fh> // '') !~ /\) [ZX] /;
}

# A standby becomes a server of its own, on a new timeline.
sub promote ($self) {
    $self->sql('postgres', 'SELECT pg_promote(true); CHECKPOINT');
    return $self;
}

# Waits until the standby has replayed all WAL up to there.
sub wait_replayed ($self, $lsn, $timeout = 30) {
    wait_until(sub {
        lsn_num($self->sql('postgres', q(SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')))) >= lsn_num($lsn);
    }, $timeout, "the standby to replay up to $lsn");
    return $self;
}

# A standby that lags for good: what its primary writes from now on, it does not get.
sub detach ($self) {
    $self->append_conf({ primary_conninfo => '' });
    $self->reload;
    wait_until(sub { $self->sql('postgres', 'SELECT count(*) FROM pg_stat_wal_receiver') == 0 },
        30, 'the end of the WAL receiver');
    return $self;
}

sub attach ($self) {
    $self->append_conf({ primary_conninfo => $self->{primary} });
    $self->reload;
    return $self;
}

# A logical slot as another server has it on disk, which is as of its last checkpoint: base backups and
# WAL leave slots out, and before 17 a standby gets them in no other way.  Restarts the server.
sub take_slot ($self, $from, $name) {
    my ($dir, $slot) = map { $_->{data} . "/pg_replslot/$name" } $from, $self;
    my $running = $self->running;
    $self->stop;
    mkdir $slot, 0700 or die "could not create directory \"$slot\": $!\n" unless -d $slot;
    File::Copy::copy("$dir/state", "$slot/state") or die "could not copy \"$dir/state\": $!\n";
    chown $self->{user}[0], $self->{user}[1], $slot, "$slot/state" if $self->{user};
    $self->start if $running;
    return $self;
}

# A server that has stopped in good order becomes a standby of another, on whose history it lies; started.
sub follow ($self, $primary) {
    my %env = %{ $primary->env };
    $self->{primary} = "host=$env{PGHOST} port=$env{PGPORT} user=postgres dbname=postgres";
    $self->append_conf({ primary_conninfo => $self->{primary}, hot_standby_feedback => 'on' });
    open my $fh, '>', "$self->{data}/standby.signal" or die "standby.signal: $!";
    return $self->start;
}

# Stops at once, whatever hangs on it, and removes all files.
sub remove ($self) {
    delete $servers{$self};
    for my $session (grep { $_ } @{ delete $self->{sessions} // [] }) {
        $session->{process}->kill_now if $session->{process};
    }
    if ($self->running) {
        my @children = CdcTest::Process::children_of($self->pid);
        $self->{process}->kill('QUIT');
        if (!$self->{process}->wait_exit(10)) {
            $self->{process}->kill_now;
            CORE::kill('KILL', grep { _alive($_) } @children);
        }
    }
    delete $self->{dir};    # File::Temp removes the files
}

sub DESTROY ($self) {
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || !$self->{dir};
    local ($?, $!, $@);
    $self->remove;
}

# ---- names for others ----

sub port     ($self) { return $self->{port} }
sub sockdir  ($self) { return $self->{sock} }
sub data_dir ($self) { return $self->{data} }
sub dir      ($self) { return "$self->{dir}" }

# "host=… port=… user=postgres dbname=…"; tcp => 1 for 127.0.0.1; others as libpq knows them:
# connstr('shop', user => 'app', application_name => 'x').
sub connstr ($self, $db = 'postgres', %opts) {
    my $host = delete $opts{tcp} ? '127.0.0.1' : $self->{sock};
    my %all = (host => $host, port => $self->{port}, user => 'postgres', dbname => $db, %opts);
    my @order = (qw(host port user dbname), sort grep { !/\A(host|port|user|dbname)\z/ } keys %all);
    return join ' ', map { "$_=" . _conninfo_value($all{$_}) } @order;
}

# The same for several servers, which libpq tries one after the other.
sub hosts ($db, $servers, %opts) {
    my $host = $opts{tcp} ? sub { '127.0.0.1' } : sub { $_->{sock} };
    my ($first) = @$servers;
    my $text = $first->connstr($db, %opts);
    $text =~ s/host=\S+ port=\S+/'host=' . join(',', map { $host->() } @$servers) . ' port=' . join(',', map { $_->{port} } @$servers)/e;
    return $text;
}

sub conninfo ($self, @args) { return $self->connstr(@args) }

sub _conninfo_value ($v) {
    return $v if $v =~ m{\A[\w./:-]+\z};
    return "'" . ($v =~ s/([\\'])/\\$1/gr) . "'";
}

sub uri ($self, $db = 'postgres') {
    return "postgresql://postgres\@127.0.0.1:$self->{port}/$db";
}

# What a child needs in its environment to reach this server without any option.
sub env ($self, $db = undef) {
    return { PGHOST => $self->{sock}, PGPORT => $self->{port}, PGUSER => 'postgres',
             defined $db ? (PGDATABASE => $db) : () };
}

# ---- SQL ----

sub _psql ($self, $db, $sql, @options) {
    return CdcTest::Process->capture(
        argv  => [bindir() . '/psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', @options, '-d', $self->connstr($db)],
        input => encode_utf8($sql), env => { PGCLIENTENCODING => 'UTF8' }, timeout => 300,
    );
}

# (status, output, messages); statements run one by one, each its own transaction, up to the
# first that fails.
sub try_sql ($self, $db, $sql) {
    my $r = $self->_psql($db, $sql);
    chomp(my $out = decode_utf8($r->{out}));
    return ($r->{exit}, $out, decode_utf8($r->{err}));
}

# The output of psql -XAtq, without the last newline; dies with the server's message.
sub sql ($self, $db, $sql) {
    my ($status, $out, $err) = $self->try_sql($db, $sql);
    die "SQL failed in database \"$db\": $err\n--- statements:\n" . substr($sql, 0, 2000) . "\n" if $status;
    return $out;
}

# The same as a test of its own.
sub sql_ok ($self, $db, $sql, $name = 'SQL runs') {
    my ($status, $out, $err) = $self->try_sql($db, $sql);
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    Test::More::ok($status == 0, $name) or Test::More::diag($err);
    return $out;
}

# Rows as [[value, ...], ...]: text as psql shows it, NULL as undef.
sub query ($self, $db, $sql) {
    my ($field, $record, $null) = ("\x1f", "\x1e", "\x1d");
    my $r = $self->_psql($db, $sql, '-F', $field, '-R', $record, '-P', "null=$null");
    die "query failed in database \"$db\": $r->{err}" if $r->{exit};
    my $out = decode_utf8($r->{out});
    return [] if $out eq '';
    $out =~ s/\n\z//;
    return [map { [map { $_ eq $null ? undef : $_ } split /$field/, $_, -1] } split /$record/, $out, -1];
}

sub create_db ($self, $name) {
    $self->sql('postgres', "CREATE DATABASE \"$name\"");
    return $self;
}

# A psql that stays, for transactions that are to be held open: see PgServer::Session.
sub session ($self, $db, %opts) {
    my $session = PgServer::Session->new($self, $db, %opts);
    push @{ $self->{sessions} }, $session;
    weaken($self->{sessions}[-1]);
    return $session;
}

# ---- looking ----

# The row of pg_replication_slots as {column => value}, undef when there is no such slot.
sub slot ($self, $name) {
    my $literal = $name =~ s/'/''/gr;
    my $json = $self->sql('postgres',
        "SELECT row_to_json(s) FROM pg_replication_slots s WHERE slot_name = '$literal'");
    return $json eq '' ? undef : JSON::PP->new->decode($json);
}

# Ends the walsender that uses the slot; true when there was one.
sub terminate_slot_user ($self, $name) {
    return $self->sql('postgres',
        "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots
         WHERE slot_name = '$name' AND active_pid IS NOT NULL") > 0;
}

# The end of the WAL now, as text.
sub wal_lsn ($self) { return $self->sql('postgres', 'SELECT pg_current_wal_lsn()') }

# '0/16B3748' <-> 23803720; as functions or as methods.
sub lsn_num {
    my $text = pop;
    my ($high, $low) = $text =~ m{\A([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})\z} or die "not an LSN: \"$text\"\n";
    return hex($high) << 32 | hex($low);
}

sub lsn_text {
    my $lsn = pop;
    return sprintf '%X/%X', $lsn >> 32, $lsn & 0xFFFFFFFF;
}

sub log_text ($self) {
    open my $fh, '<', $self->{log} or return '';
    local $/;
    return scalar(<$fh>) // '';
}

# Where the log ends now, to ask log_contains() only about what comes after.
sub log_mark ($self) { return -s $self->{log} // 0 }

sub log_contains ($self, $regex, $from = 0) {
    return substr($self->log_text, $from) =~ $regex ? 1 : 0;
}

# Calls $check until it is true and returns what it said; dies after $timeout seconds.
sub wait_for ($self, $check, $timeout = 30, $what = 'a condition') {
    return wait_until($check, $timeout, $what);
}

# A look may cost a process of psql and a server's: they come less often as the wait gets longer.
sub wait_until ($check, $timeout, $what) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    my $pause = 0.02;
    while (1) {
        my $result = $check->();
        return $result if $result;
        die "waited $timeout seconds in vain for $what\n" if time > $deadline;
        sleep $pause;
        $pause *= 1.25 if $pause < 0.12;
    }
}

# PgServer::Session - one psql that is fed statement by statement.
#
#   my $s = $pg->session('shop');
#   $s->sql('BEGIN');  $s->sql('INSERT …');      # dies on an error
#   my ($ok, $out, $err) = $s->try('…');
#   $s->send('SELECT pg_sleep(5)');  …;  $s->finish(10);   # for statements that block
#   $s->pid                                      # of the backend
#   $s->close
#
# session($db, user => 'app', replication => 'database'): more of libpq's parameters.
package PgServer::Session;
use v5.36;

use Encode qw(encode_utf8 decode_utf8);
use Time::HiRes qw(time);

sub new ($class, $server, $db, %opts) {
    my $self = bless { buffer => '', number => 0, err_seen => 0 }, $class;
    pipe my $in, $self->{to}     or die "pipe: $!";
    pipe $self->{from}, my $out  or die "pipe: $!";
    open $self->{err}, '+>', undef or die "could not open a temporary file: $!";
    $self->{process} = CdcTest::Process->spawn(
        argv   => [PgServer::bindir() . '/psql', '-XAtq', '-d', $server->connstr($db, %opts)],
        stdin  => $in, stdout => $out, stderr => $self->{err},
        env    => { PGCLIENTENCODING => 'UTF8' },
    );
    CORE::close $_ for $in, $out;    # or its end would not be seen
    $self->{to}->autoflush(1);
    $self->sql('\echo connected');
    return $self;
}

# Hands over a statement (with or without its semicolon) and does not wait.
sub send ($self, $sql) {
    $self->{number}++;
    local $SIG{PIPE} = 'IGNORE';
    $sql .= ';' unless $sql =~ /\A\\/ || $sql =~ /;\s*\z/;
    print { $self->{to} } encode_utf8($sql), "\n\\echo \x1e$self->{number} :ERROR\n";
    return $self;
}

# Waits for what was sent last; returns (ok, output, messages), dies after $timeout seconds.
sub finish ($self, $timeout = 60) {
    my $deadline = time + CdcTest::Process::patient($timeout);
    my ($from, $mark) = ($self->{from}, "\x1e$self->{number} ");
    my ($out, $error);
    until (($out, $error) = $self->{buffer} =~ /\A(.*?)$mark(\S+)\n/s) {
        my $left = $deadline - time;
        die "the statement did not end within $timeout seconds\n" if $left <= 0;
        my $ready = '';
        vec($ready, fileno $from, 1) = 1;
        next unless select($ready, undef, undef, $left) > 0;
        next if sysread $from, $self->{buffer}, 65536, length $self->{buffer};
        my $rest = $self->{buffer};
        $self->{buffer} = '';
        return (0, decode_utf8($rest), $self->_messages);    # the session is over
    }
    $self->{buffer} = '';
    chomp $out;
    my $err = $self->_messages;
    return ($error ne 'true' && $err !~ /^(ERROR|FATAL|PANIC|psql: error):/m, decode_utf8($out), $err);
}

sub _messages ($self) {
    seek $self->{err}, $self->{err_seen}, 0;
    my $text = do { local $/; readline $self->{err} } // '';
    $self->{err_seen} += length $text;
    return decode_utf8($text);
}

sub try ($self, $sql, $timeout = 60) { return $self->send($sql)->finish($timeout) }

sub sql ($self, $sql, $timeout = 60) {
    my ($ok, $out, $err) = $self->try($sql, $timeout);
    die "SQL failed in a session: $err\n--- statement:\n$sql\n" unless $ok;
    return $out;
}

sub pid ($self) { return $self->sql('SELECT pg_backend_pid()') }

# Ends the session; an open transaction is rolled back.
sub close ($self) {
    CORE::close $self->{to} if $self->{to};
    $self->{process}->wait_exit(10) or $self->{process}->kill_now;
}

1;
