# Every plugin other than pgoutput: runs that stop, are killed or cut off and go on, through a file and
# through a pipe; bounds; idle slots; another dress of wal2json; prepared transactions.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Writers;
use List::Util qw(shuffle sum0);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my @dresses = qw(wal2json wal2json_rds wal2json_streaming wal2json_rds_streaming);
# What a plugin tells of a commit when its transaction begins: a bound is met exactly by that only.
my %tells_lsn  = map { $_ => 1 } qw(wal2json wal2json_rds);
my %tells_time = map { $_ => 1 } @dresses, 'decoderbufs';

my $pg = PgServer->new(extra_conf => { max_replication_slots => 100, max_wal_senders => 40 });
# Whether the server has that library.
sub there ($library) {
    state %there;
    return $there{$library} //= do {
        my ($failed, undef, $why) = $pg->try_sql('postgres', "SELECT pg_create_logical_replication_slot('probe', '$library', true)");
        die $why if $failed && $why !~ /could not access file "$library"/;
        $failed ? 0 : 1;
    };
}

my %library = map { $_ => /^wal2json/ ? 'wal2json' : $_ } @dresses, qw(decoderbufs test_decoding);
our @plugins = grep { there($library{$_}) } @dresses, qw(decoderbufs test_decoding);
skip_all_without(scalar(@plugins), 'no plugin but pgoutput is there');
SKIP: for (grep { !there($_) } qw(wal2json decoderbufs test_decoding)) { skip_without(0, "plugin $_ is not there") }
my $dir = scratch();
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# The arguments of a run with a slot and state file of that name.
sub args ($plugin, $slot, @more) {
    return [-P => $plugin, -S => $slot, '-m' => 'never', '-e' => 'plain', '--status-interval' => '0.05', '--retry-delay' => '0.1',
        '--state' => "$dir/$slot.json", @more];
}
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }
sub saved_lsn ($slot) { return -e "$dir/$slot.json" ? lsn_num(saved($slot)->{lsn}) : 0 }

# The same for each plugin, side by side: $code->($plugin) starts a run.
sub of_each ($code) {
    my %c = map { $_ => $code->($_) } @plugins;
    return map { $_ => $c{$_}->wait } @plugins;
}

sub drop ($db, @slots) {
    $pg->sql($db, join ';', map { "SELECT pg_drop_replication_slot('$_')" } @slots);
    unlink map { "$dir/$_.json" } @slots;
}

# ---- stopped and killed at random, while others write ----

CdcTest::Writers::create($pg, 'writers');
# 510 is not about NaN, which wal2json gives as null: keys are numbers here.
$pg->sql('writers', q(CREATE OR REPLACE FUNCTION w_num_key(n bigint) RETURNS numeric IMMUTABLE LANGUAGE sql AS
    $$ SELECT (n || (ARRAY['', '.50', '.500', '.7'])[1 + abs(n % 4)])::numeric $$));

my @ways = map { my $plugin = $_; map { { plugin => $plugin, wall => $_, slot => "${plugin}_$_", name => "$plugin, $_",
    out => "$dir/$plugin.$_", pieces => [], kills => 0, stops => 0, cuts => 0, moved => 0 } } qw(file pipe) } @plugins;
$pg->sql('writers', "SELECT pg_create_logical_replication_slot('$_->{slot}', '$library{$_->{plugin}}')") for @ways;
CdcTest::Writers::fill($pg, 'writers', 60);
my $writers = CdcTest::Writers->start(server => $pg, db => 'writers', seed => $seed, writers => 2, pause => 0.01, hold => [0.2, 0.5],
    without => ['bulk'], restarts => 1);

sub size ($way) { return -s ($way->{wall} eq 'pipe' ? $way->{pieces}[-1]{path} : $way->{out}) // 0 }

# One life: to the end of the WAL, or until a moment of its own at which it gets a signal.
sub begin ($way, $end) {
    my @args = @{ args($way->{plugin}, $way->{slot}, $end eq 'now' ? (-E => 'now') : ()) };
    my %life = (way => $way, end => $end, before => saved_lsn($way->{slot}));
    if ($way->{wall} eq 'pipe') {
        push @{ $way->{pieces} }, { path => "$way->{out}." . @{ $way->{pieces} }, end => $end };
        pipe my $from, my $to or die "pipe: $!";
        $life{reader} = CdcTest::Process->spawn(argv => ['cat'], stdin => $from, stdout => ">$way->{pieces}[-1]{path}");
        close $from;
        $life{c} = Cdc->start(server => $pg, db => 'writers', args => \@args, stdout => $to);
        close $to;    # or the reader would not see the end
    } else {
        $life{c} = Cdc->start(server => $pg, db => 'writers', args => [@args, -f => $way->{out}], stdout => 'null');
    }
    # Sometimes early, else behind some output, or soon after.
    $life{at} = rand() < 0.2 ? time + rand 0.1 : undef;
    $life{size} = 1 + size($way) + rand 200_000;
    $life{latest} = time + CdcTest::Process::patient(30);
    return \%life;
}

sub is_due ($life) {
    return 0 if $life->{end} eq 'now';
    $life->{at} //= time + (rand() < 0.5 ? 0 : rand 0.05) if size($life->{way}) >= $life->{size} || time > $life->{latest};
    return defined $life->{at} && time >= $life->{at};
}

sub end ($life) {
    my ($way, $c, $end) = @$life{qw(way c end)};
    my $r = $c->wait;
    if    ($end eq 'kill') { $way->{kills}++ if defined $r->signal && $r->signal == 9 }
    elsif ($end eq 'stop') { $way->{stops}++ if defined $r->exit && $r->exit == 0 }
    # An early SIGTERM comes before there is a handler.
    $r->exited(0, "$way->{name}: ended by $end") unless $end eq 'kill' || defined $r->exit && $r->exit == 0
        || $end eq 'stop' && defined $r->signal && $r->signal == 15 && $r->err eq '';
    $way->{pieces}[-1]{end} = 'kill' if $way->{wall} eq 'pipe' && defined $r->signal;
    $way->{cuts}++ if $r->err =~ /cutting output file/;
    $way->{moved}++ if saved_lsn($way->{slot}) > $life->{before};
    $life->{reader}->wait_exit(20) || die "the reader does not end\n" if $life->{reader};
}

sub one_round (%end_of) {
    my @lives = map { begin($_, $end_of{ $_->{name} }) } @ways;
    my @waiting = grep { $_->{end} ne 'now' } @lives;
    while (@waiting) {
        @waiting = grep { !is_due($_) || ($_->{c}->kill($_->{end} eq 'kill' ? 'KILL' : 'TERM'), 0)[1] } @waiting;
        sleep 0.001;
    }
    end($_) for @lives;
}

my $large = $pg->session('writers');
my %ends = map { $_->{name} => [shuffle(('kill') x 4, 'stop', 'stop', 'now')] } @ways;
my $written = sub { sum0(map { $_ // 0 } @{ $writers->report->{done} }{qw(insert append update delete multi savepoint)}) };
my $enough = sub { $written->() >= 80 && (grep { $_->{kills} >= 3 && $_->{stops} && $_->{moved} >= 3 } @ways) == @ways && sum0(map { $_->{cuts} } @ways) >= 8 };
for my $n (1 .. 25) {
    # A transaction that is large enough for some to end within it.
    $large->send("INSERT INTO w_cut (id, note) SELECT -2000000000 - $n * 1000 - g, repeat('z', 1000) FROM generate_series(1, 250) g");
    # A stop that came before there was a handler did not count: another one then.
    one_round(map { $_->{name} => shift @{ $ends{ $_->{name} } } // ($_->{stops} ? 'kill' : 'stop') } @ways);
    $large->finish;
    if ($n == 4) {
        # What the server has on record of its slots goes back with it: the state files do not.
        $large->close;
        $pg->restart('immediate');
        $large = $pg->session('writers');
    }
    last if $n >= 7 && $enough->();
}
$writers->stop;
one_round(map { $_->{name} => 'now' } @ways);
lap('random ends: ' . join ', ', map { my $what = $_; "$what " . sum0(map { $_->{$what} } @ways) } qw(kills stops cuts moved));

# All rows as one text.
sub model_of ($oracle) {
    return join "\n", map {
        my $t = $oracle->{model}{"public.$_"};
        map { join "\t", $_, $t->{count}{$_} // 1, map { $_ // 'null' } @{ $t->{rows}{$_} }{ sort keys %{ $t->{rows}{$_} } } } sort keys %{ $t->{rows} };
    } @CdcTest::Writers::TABLES;
}

my $repeated = 0;
my $right;
for my $way (@ways) {
    my $name = $way->{name};
    cmp_ok($way->{kills}, '>=', 3, "$name: kills that hit");
    cmp_ok($way->{stops}, '>=', 1, "$name: runs that were stopped in good order");
    cmp_ok($way->{moved}, '>=', 3, "$name: runs that moved the position");
    my $oracle = CdcTest::Writers::oracle($way->{wall} eq 'pipe' ? (allow_duplicates => 1) : ());
    if ($way->{wall} eq 'file') {
        $oracle->apply_file($way->{out});
    } else {
        for my $piece (@{ $way->{pieces} }) {
            $oracle->apply_file($piece->{path}, torn => $piece->{end} eq 'kill')->resumes;
        }
        $repeated += $oracle->duplicates;
    }
    $oracle->faultless("$name: every change " . ($way->{wall} eq 'file' ? 'exactly' : 'at least') . ' once, in order');
    # The first is held against the tables, the others against the first: that is quicker.
    my $model = model_of($oracle);
    if (defined $right) { ok($model eq $right, "$name: the tables") or CdcTest::Writers::compare($oracle, $pg, 'writers', $name) }
    else                { CdcTest::Writers::compare($oracle, $pg, 'writers', $name) }
    $right //= $model;
    cmp_ok($oracle->transactions, '>=', 80, "$name: of many transactions");
    cmp_ok($oracle->count('c', 'public.w_cut'), '>=', 7 * 250, "$name: and some large ones");
}
cmp_ok(sum0(map { $_->{cuts} } @ways), '>=', 8, 'files: runs that found more than had been accepted');
cmp_ok($repeated, '>=', 100, "pipes: some came again ($repeated)");
drop('writers', map { $_->{slot} } @ways);
lap('judged');

# ---- one database for what follows ----

$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)');

sub slots ($prefix) {
    $pg->sql('shop', join ';', map { "SELECT pg_create_logical_replication_slot('$prefix$_', '$library{$_}')" } @plugins);
}
sub drop_slots ($prefix) { drop('shop', map { "$prefix$_" } @plugins) }

my $last_id = 0;
sub insert ($many, $width = 10, $session = undef) {
    my $sql = "INSERT INTO t SELECT g, repeat('y', $width) FROM generate_series(" . ($last_id + 1) . ', ' . ($last_id += $many) . ') g';
    return $session ? $session->sql($sql) : $pg->sql('shop', $sql);
}

sub start ($plugin, $slot, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($plugin, $slot, @more)) }
sub to_file ($plugin, $slot, $file, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => 'null', args => args($plugin, $slot, -f => $file, @more));
}
sub connections ($c) { return scalar(() = $c->stderr =~ /streaming from/g) }

# Where lines stand in their transactions: "1..5 1..3".
sub places ($bytes) {
    my @ranges;
    for my $seq ($bytes =~ /"seq":(\d+),/g) {
        if (@ranges && $ranges[-1][1] + 1 == $seq) { $ranges[-1][1]++ }
        else                                      { push @ranges, [$seq, $seq] }
    }
    return join ' ', map { "$_->[0]..$_->[1]" } @ranges;
}

# The first and last id of each run of rows: 1..3,7..9
sub ids (@bytes) {
    my @ranges;
    for my $id (join('', @bytes) =~ /"row":\{"id":(-?\d+),/g) {
        if (@ranges && $ranges[-1][1] + 1 == $id) { $ranges[-1][1]++ }
        else                                     { push @ranges, [$id, $id] }
    }
    return join ',', map { $_->[0] == $_->[1] ? $_->[0] : "$_->[0]..$_->[1]" } @ranges;
}

# ---- cut off in mid-transaction, twice in one run ----

# Nobody reads the pipes but a little now and then, so all of them stand within the transaction.
slots('cut_');
insert(9000, 300);
my %c = map { $_ => start($_, "cut_$_", '-v', '-E', 'now', '--transport', 'stream') } @plugins;
for my $plugin (@plugins) {
    my @first = $c{$plugin}->read_lines(10);
    like($first[9], qr/"seq":10,/, "$plugin, cut: the transaction has begun to come");
}
sub connected ($n) {
    for my $plugin (@plugins) {
        my $c = $c{$plugin};
        wait_until(sub { connections($c) >= $n || !$c->running || ($c->read_some(4096, 0.01), 0)[-1] }, 30, "$plugin: connection $n");
        is(connections($c), $n, "$plugin: connection $n");
    }
}
connected(1);
is(scalar(grep { $pg->terminate_slot_user("cut_$_") } @plugins), @plugins, 'cut: all were connected, and are no more');
connected(2);
$pg->stop('immediate');
$pg->start;
connected(3);
for my $plugin (@plugins) {
    my $r = $c{$plugin}->wait;
    $r->exited(0, "$plugin, cut: goes on to the end");
    is(places($r->out), '1..9000', "$plugin, cut: every change once, through a pipe");
    like($r->err, qr/(?:lost the connection|terminating connection).*trying again.*trying again/s, "$plugin, cut: says so");
}
drop_slots('cut_');
lap('cut off');

# ---- the server is not held up ----

slots('up_');
%c = map { $_ => to_file($_, "up_$_", "$dir/up_$_.out", '-v', '-t' => 't') } @plugins;
for my $busy (0, 1) {
    connected(1 + $busy);
    insert(5000, 100) if $busy;
    wait_until(sub { !grep { !-s "$dir/up_$_.out" } @plugins }, 20, 'output') if $busy;
    my $name = $busy ? 'busy' : 'idle';
    ok(eval { $pg->stop('fast', 20) }, "a fast stop of the server is not held up: $name") or $pg->stop('immediate');
    $pg->start;
}
connected(3);
insert(1);
my $end = $pg->wal_lsn;
for my $plugin (@plugins) {
    $c{$plugin}->wait_written($end, 30);
    $c{$plugin}->stop->exited(0, "$plugin, beside fast stops: goes on");
    is(places(slurp("$dir/up_$plugin.out")), '1..5000 1..1', "$plugin, beside fast stops: every change once");
}
drop_slots('up_');
lap('fast stops');

# ---- stopped in mid-transaction ----

# Between two looks for signals it may take 2 MB.
slots('stop_');
insert(3000, 2000);
%c = map { $_ => start($_, "stop_$_") } @plugins;
for my $plugin (@plugins) {
    $c{$plugin}->read_lines(10);
    my $r = $c{$plugin}->stop('TERM');
    $r->exited(0, "$plugin, a pipe, SIGTERM in mid-transaction");
    my ($last) = places($r->out) =~ /\A1\.\.(\d+)\z/ or fail("$plugin: " . places($r->out));
    cmp_ok($last, '<', 3000, "$plugin, a pipe, SIGTERM: comes in mid-transaction");
    like($r->out, qr/\n\z/, "$plugin, a pipe, SIGTERM: behind a line");
}
my %r = of_each(sub ($plugin) { return start($plugin, "stop_$plugin", '-E', 'now') });
is(places($r{$_}->out), '1..3000', "$_, a pipe, SIGTERM: the next run has the transaction whole") for @plugins;

for my $plugin (@plugins) {
    my $file = "$dir/stop_$plugin.out";
    my $size;
    # A run that is through before it is stopped gets another transaction.
    for my $try (1 .. 8) {
        spew($file, '');
        unlink "$dir/stop_$plugin.json";
        my $c = to_file($plugin, "stop_$plugin", $file, '-v', '-t' => 't');
        $c->wait_stderr(qr/streaming from/);
        insert(3000, 2000);
        wait_until(sub { -s $file }, 20, "$plugin: output");
        my $r = $c->stop('TERM');
        $r->exited(0, "$plugin, a file: SIGTERM") unless defined $r->exit && $r->exit == 0;
        last if ($size = -s $file) == 0;
    }
    is($size, 0, "$plugin, a file, SIGTERM in mid-transaction: what had been written of it is cut off");
    to_file($plugin, "stop_$plugin", $file, '-E', 'now')->wait->exited(0, "$plugin, a file: the next run");
    like(places(slurp($file)), qr/\A1\.\.3000( 1\.\.3000)*\z/, "$plugin, a file: has the transaction whole");
    like(slurp($file), qr/"row":\{"id":$last_id,.*\n\z/, "$plugin, a file: up to its last row");
}
drop_slots('stop_');
lap('stopped');

# ---- transactions that overlap ----

slots('overlap_');
sub overlap () { return of_each(sub ($plugin) { return start($plugin, "overlap_$plugin", '-t' => 't', '-E', 'now') }) }
overlap();
my ($long, $short) = map { $pg->session('shop') } 1, 2;
for my $round (1, 2) {
    my $from = $last_id + 1;
    $long->sql('BEGIN');
    insert(20, 10, $long);
    insert(1, 10, $short) for 1, 2;
    my %first = overlap();
    insert(5, 10, $long);
    $long->sql('COMMIT');
    my %second = overlap();
    for my $plugin (@plugins) {
        is(ids($first{$plugin}->out), ($from + 20) . '..' . ($from + 21), "$plugin, overlap $round: the short ones, while the long one is open");
        is(ids($second{$plugin}->out), "$from.." . ($from + 19) . ',' . ($from + 22) . '..' . ($from + 26), "$plugin, overlap $round: then all of the long one");
        is(places($second{$plugin}->out), '1..25', "$plugin, overlap $round: from its first change on");
    }
}
# A commit record that begins where the one before it ended: the position on record is its LSN.
my $equal = 0;
for my $n (1 .. 3) {
    $long->sql('BEGIN');
    insert(1, 10, $long);
    insert(1, 10, $short);
    my %first = overlap();
    my %stood = map { $_ => saved("overlap_$_")->{lsn} } @plugins;
    $long->sql('COMMIT');
    my %second = overlap();
    is(ids($first{$_}->out) . ' ' . ids($second{$_}->out), $last_id . ' ' . ($last_id - 1), "$_, back to back: one by one ($n)") for @plugins;
    next unless $second{wal2json};
    my ($commit) = $second{wal2json}->out =~ /"commit_lsn":"([^"]+)"/;
    $equal++ if (grep { $stood{$_} eq $commit } @plugins) == @plugins;
}
ok($equal, 'back to back: the positions were the LSN of the next commit record') if there('wal2json');

# Messages outside of transactions are points to go on from, too.
$pg->sql('shop', q(SELECT pg_logical_emit_message(false, 'free', 'one')));
insert(1);
$pg->sql('shop', q(SELECT pg_logical_emit_message(false, 'free', 'two')));
for my $n (1, 2) {
    for my $plugin (grep { $_ ne 'decoderbufs' } @plugins) {
        my $r = start($plugin, "overlap_$plugin", '-t' => 't', '-E', 'now', '--messages')->wait;
        my @said = map { $_->{prefix} ? "$_->{prefix} $_->{content}" : $_->{row}{id} } $r->records;
        is("@said", $n == 1 ? "free b25l $last_id free dHdv" : '', "$plugin, messages: " . ($n == 1 ? 'in their order' : 'once'));
    }
}
drop_slots('overlap_');
lap('overlapping');

# ---- where a run ends ----

# Of dresses that differ in their options only, one.
my @bounded = grep { !/rds/ } @plugins;
my @libraries = grep { there($_) } qw(wal2json decoderbufs test_decoding);

# A backlog of five transactions: 1..3, 4, 5..304, 305..307, 308.  Every test gets a copy.
$pg->sql('shop', join ';', map { "SELECT pg_create_logical_replication_slot('base_$_', '$_')" } @libraries);
for (['1, 3'], ['4, 4'], ['5, 304'], ['305, 307'], ['308, 308']) {
    $pg->sql('shop', "INSERT INTO b SELECT g, 'x' FROM generate_series($_->[0]) g");
    sleep 0.02;    # so that their commit times differ
}
my $nbounds = 0;
sub copies ($prefix) {
    $pg->sql('shop', join ';', map { "SELECT pg_copy_logical_replication_slot('base_$library{$_}', '$prefix$_')" } @plugins);
}

# Runs over new copies of the backlog, then once more for the rest.  Expected: what comes of plugins that
# tell what has to be known, and of the others, which give the transaction that is under way as well.
sub bounded ($name, $tells, $exactly, $otherwise, @bounds) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    local @plugins = @bounded;
    my $prefix = 'b' . ++$nbounds . '_';
    copies($prefix);
    my %r = of_each(sub ($plugin) { return start($plugin, "$prefix$plugin", @bounds) });
    my %rest = of_each(sub ($plugin) { return start($plugin, "$prefix$plugin", '-E', 'now') });
    for my $plugin (@plugins) {
        $r{$plugin}->exited(0, "$plugin, $name: status 0");
        is(ids($r{$plugin}->out), $tells->{$plugin} ? $exactly : $otherwise, "$plugin, $name");
        is(ids($r{$plugin}->out, $rest{$plugin}->out), '1..308', "$plugin, $name: the next run gives the rest");
    }
    drop_slots($prefix);
    return %r;
}

my %all = map { $_ => 1 } @plugins;
my %whole = bounded('-E now', \%all, '1..308', '', -E => 'now');
bounded('-E at the first possible LSN', \%all, '', '', -E => '0/1');
bounded('--count at a boundary', \%all, '1..4', '', '--count=4');
bounded('--count in the middle of a transaction', \%all, '1..304', '', '--count=5');
bounded('--idle-exit', \%all, '1..308', '', '--idle-exit=0.5');
SKIP: {
    skip_without(there('wal2json'), 'wal2json is to tell where the commits are', 1);
    my (@commits, @times, @rows);
    for my $record ($whole{wal2json}->records) {
        push @rows, $record->{lsn};
        next if @commits && $commits[-1] eq $record->{commit_lsn};
        push @commits, $record->{commit_lsn};
        push @times, $record->{ts};
    }
    is(scalar(@commits), 5, 'the backlog is of five transactions');
    bounded('-E at a commit', \%all, '1..304', '', -E => $commits[2]);
    bounded('-E before a commit', \%tells_lsn, '', '1..3', '--transport=stream', -E => lsn_text(lsn_num($commits[0]) - 1));
    bounded('-E in the middle of a transaction', \%tells_lsn, '1..4', '1..304', '--transport=stream', -E => $rows[150]);
    bounded('-E at the time of a commit', \%tells_time, '1..304', '1..307', -E => $times[2]);
    (my $earlier = $times[2]) =~ s/\.(\d+)Z\z/sprintf '.%06dZ', substr("${1}000000", 0, 6) - 1/e;
    bounded('-E a microsecond before', \%tells_time, '1..4', '1..304', -E => $earlier) unless $times[2] =~ /:\d\dZ|\.0+Z/;
}
drop('shop', map { "base_$_" } @libraries);
lap('bounds');

# ---- idle slots ----

$pg->create_db('elsewhere');
$pg->sql('elsewhere', 'CREATE TABLE x (a int)');
slots('idle_');
%c = map { $_ => start($_, "idle_$_", '-t' => 't', '-v') } @plugins;
$c{$_}->wait_stderr(qr/streaming from/) for @plugins;
for my $what (['another database', sub { $pg->sql('elsewhere', 'INSERT INTO x SELECT generate_series(1, 3000)') }],
        ['a table that is not captured', sub { $pg->sql('shop', 'INSERT INTO other SELECT generate_series(1, 1000); DELETE FROM other') }]) {
    my ($name, $write) = @$what;
    $write->();
    my $end = lsn_num($pg->sql('postgres', 'SELECT pg_current_wal_flush_lsn()'));
    for my $plugin (@plugins) {
        my $confirmed = sub { return lsn_num($pg->slot("idle_$plugin")->{confirmed_flush_lsn}) };
        ok(eval { wait_until(sub { $confirmed->() >= $end }, 20, 'confirmed_flush_lsn') }, "$plugin, $name: the slot follows") or diag($c{$plugin}->stderr);
        cmp_ok(saved_lsn("idle_$plugin"), '>=', $end, "$plugin, $name: so does the state file");
    }
}
for my $plugin (@plugins) {
    my $r = $c{$plugin}->stop;
    $r->exited(0, "$plugin, idle: stopped");
    is($r->out, '', "$plugin, idle: nothing was printed");
}
drop_slots('idle_');
lap('idle');

# ---- another dress of wal2json from run to run ----

SKIP: {
    skip_without(there('wal2json'), 'wal2json has dresses', 1);
    $pg->sql('shop', q(TRUNCATE t; SELECT pg_create_logical_replication_slot('dress', 'wal2json')));
    my $file = "$dir/dress.out";
    my ($killed, $cut) = (0, 0);
    for my $n (0 .. 11) {
        my $dress = $dresses[$n % 4];
        insert(3000, 100);
        $pg->sql('shop', "UPDATE t SET v = 'z$n' WHERE id % 50 = 0; UPDATE t SET id = -id WHERE id IN (SELECT id FROM t WHERE id > 0 ORDER BY id LIMIT 5)");
        if ($n % 3 == 2) {
            my $r = to_file($dress, 'dress', $file, '-t' => 't', '-E', 'now')->wait;
            $r->exited(0, "$dress: goes on from another dress");
            $cut++ if $r->err =~ /cutting output file/;
            is(saved('dress')->{plugin}, 'wal2json', "$dress: the plugin on record is that of the slot");
            next;
        }
        my $c = to_file($dress, 'dress', $file, '-t' => 't');
        my $more = (-s $file // 0) + 1 + rand 500_000;
        wait_until(sub { (-s $file // 0) >= $more || !$c->running }, 20, 'output');
        $killed++ if $c->kill('KILL');
        $cut++ if $c->wait->err =~ /cutting output file/;
    }
    to_file('wal2json', 'dress', $file, '-t' => 't', '-E', 'now')->wait->exited(0, 'wal2json: the rest');
    is($killed, 8, 'other dresses: runs that were killed');
    cmp_ok($cut, '>=', 2, 'other dresses: runs that found what another had written of a transaction');
    my $dressed = Oracle->new(keys => { 'public.t' => ['id'] })->apply_file($file);
    $dressed->faultless('other dresses: every change exactly once');
    $dressed->compare($pg, 'shop', 'public.t', name => 'other dresses: the table in the end');
    my $kinds = () = slurp($file) =~ /"commit_lsn":null,"seq":1,/g;
    cmp_ok($kinds, '>=', 4, "other dresses: both formats gave transactions ($kinds)");
    cmp_ok($dressed->transactions - $kinds, '>=', 4, 'other dresses: both of them');
    drop('shop', 'dress');
}
lap('dresses');

# ---- prepared transactions ----

$pg->sql('shop', 'TRUNCATE t');
# Where nobody asks for them early, they come when they are committed, also across a restart.
slots('late_');
sub late () { return of_each(sub ($plugin) { return start($plugin, "late_$plugin", '-t' => 't', '-E', 'now') }) }
late();
$pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (1), (2); PREPARE TRANSACTION 'p1'; INSERT INTO t VALUES (3); BEGIN; INSERT INTO t VALUES (4); PREPARE TRANSACTION 'p2'));
my %between = late();
$pg->restart;
$pg->sql('shop', q(COMMIT PREPARED 'p1'; ROLLBACK PREPARED 'p2'));
my %after = late();
is(ids($between{$_}->out) . ' ' . ids($after{$_}->out), '3 1..2', "$_: a prepared transaction comes when it is committed") for @plugins;
drop_slots('late_');

SKIP: {
    skip_without(PgServer::version() >= 15, 'PostgreSQL 15 brought two-phase slots', 12);
    # Others do not know of PREPARE, whatever the slot is like.
    for my $plugin (grep { $_ ne 'test_decoding' } @plugins) {
        $pg->sql('shop', "TRUNCATE t; SELECT pg_create_logical_replication_slot('two', '$library{$plugin}', false, true)");
        $pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (11); PREPARE TRANSACTION 'p3'));
        is(start($plugin, 'two', '-E', 'now')->wait->out, '', "$plugin, a two-phase slot: nothing at PREPARE");
        $pg->sql('shop', q(COMMIT PREPARED 'p3'));
        is(ids(start($plugin, 'two', '-E', 'now')->wait->out), '11', "$plugin, a two-phase slot: all at COMMIT PREPARED");
        drop('shop', 'two');
    }
    skip_without(there('test_decoding'), 'test_decoding gives them early', 1);

    my $marks = sub ($r) { return join ' ', map { /"op":"(\w+)".*?(?:"gid":"([^"]+)"|"row":\{"id":(\d+)|\z)/ ? $1 . (defined $2 ? ":$2" : defined $3 ? ":$3" : '') : '?' } $r->lines };
    my @two = qw(-t t --two-phase --transactions -E now);
    start('test_decoding', 'two', @two)->wait->exited(0, 'test_decoding, --two-phase');
    ok($pg->slot('two')->{two_phase}, 'test_decoding: the slot is one');
    my $r = start('test_decoding', 'two', '-E', 'now')->wait;
    $r->exited(2, 'test_decoding: such a slot without --two-phase');
    like($r->err, qr/replication slot "two" gives prepared transactions before they are committed/, 'says so');
    $pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (21), (22); PREPARE TRANSACTION 'it''s 1'; INSERT INTO t VALUES (23); BEGIN; INSERT INTO t VALUES (24); PREPARE TRANSACTION 'g2'));
    $r = start('test_decoding', 'two', @two)->wait;
    is($marks->($r), q(begin c:21 c:22 prepare:it's 1 begin c:23 end begin c:24 prepare:g2), 'test_decoding: they come when they are prepared');
    is(start('test_decoding', 'two', @two)->wait->out, '', 'test_decoding: nothing while they stand');
    $pg->restart('immediate');
    is(start('test_decoding', 'two', @two)->wait->out, '', 'test_decoding: nor after a crash of the server');
    $pg->sql('shop', q(COMMIT PREPARED 'it''s 1'; ROLLBACK PREPARED 'g2'));
    is($marks->(start('test_decoding', 'two', @two)->wait), q(commit_prepared:it's 1 rollback_prepared:g2), 'test_decoding: then what became of them, and not their changes');
    $pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (31); PREPARE TRANSACTION 'g3'; COMMIT PREPARED 'g3'; BEGIN; INSERT INTO t VALUES (32); PREPARE TRANSACTION 'g4'; ROLLBACK PREPARED 'g4'));
    is($marks->(start('test_decoding', 'two', @two)->wait), 'begin c:31 prepare:g3 commit_prepared:g3 begin c:32 prepare:g4 rollback_prepared:g4', 'test_decoding: all of it in one run');
    # Killed between PREPARE and COMMIT PREPARED.
    my $out = "$dir/two.out";
    my $c = to_file('test_decoding', 'two', $out, '-v', @two[0 .. 3]);
    $c->wait_stderr(qr/streaming from/);
    $pg->sql('shop', q(BEGIN; INSERT INTO t VALUES (41); PREPARE TRANSACTION 'g5'));
    wait_until(sub { -e $out && slurp($out) =~ /"op":"prepare"/ }, 20, 'PREPARE');
    ok($c->kill('KILL'), 'test_decoding: killed between PREPARE and COMMIT PREPARED');
    $c->wait;
    $pg->sql('shop', q(COMMIT PREPARED 'g5'));
    to_file('test_decoding', 'two', $out, @two)->wait->exited(0, 'test_decoding: goes on');
    is(join(' ', slurp($out) =~ /"op":"(\w+)"/g), 'begin c prepare commit_prepared', 'test_decoding: each once');
    # Cut off in the midst of a prepared one.
    $pg->sql('shop', q(BEGIN; INSERT INTO t SELECT g, repeat('x', 300) FROM generate_series(1001, 10000) g; PREPARE TRANSACTION 'large'));
    $c = start('test_decoding', 'two', '-v', @two[0 .. 3]);
    $c->read_lines(10);
    ok($pg->terminate_slot_user('two'), 'test_decoding: cut off in the midst of a prepared transaction');
    wait_until(sub { connections($c) == 2 || !$c->running || ($c->read_some(4096, 0.01), 0)[-1] }, 30, 'another connection');
    $c->read_until(qr/"op":"prepare"/);
    $pg->sql('shop', q(COMMIT PREPARED 'large'));
    $c->read_until(qr/"op":"commit_prepared"/);
    $r = $c->stop;
    is(places($r->out), '1..9000', 'test_decoding: every change of it once');
    is(join(' ', grep { $_ ne 'c' } $r->out =~ /"op":"(\w+)"/g), 'begin prepare commit_prepared', 'test_decoding: and every mark');
    drop('shop', 'two');
}
lap('prepared');

done_testing;
