# The startup modes, with their synonyms: what each does with a new slot, with one that is there,
# with a state file; where a run ends, and what the next one makes of a run that ended too early.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => {
    max_replication_slots => 80, max_connections => 60, min_wal_size => '2MB', max_wal_size => '4MB' });
$pg->create_db('shop');
my $dir = scratch();
my $n = 0;    # t has the rows 1 .. $n

my $session = $pg->session('shop');    # there are many statements
sub sql ($text) { return $session->sql($text) }
sub slot ($name, $column = 'slot_name') { return sql("SELECT $column FROM pg_replication_slots WHERE slot_name = '$name'") }
sub add ($many = 1) { sql('INSERT INTO t SELECT g, repeat(g::text, 3) FROM generate_series(' . ($n + 1) . ', ' . ($n + $many) . ') g'); $n += $many }

sub args ($slot, $mode, @more) { return [-S => $slot, -m => $mode, -t => 't', @more] }
sub start ($slot, $mode, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($slot, $mode, @more)) }
sub run ($slot, $mode, @more) { return start($slot, $mode, @more)->wait(20) }
sub state_of ($slot) { return ('--state', "$dir/$slot.json") }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }

sub gives ($r, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r->exited(0, "$name: status 0");
    is(gist($r), $want, "$name: gives " . ($want || 'nothing'));
    return $r;
}

sub has_slot ($slot, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(slot($slot) ? 'a slot' : 'no slot', $want ? 'a slot' : 'no slot', $name);
}

sub drop ($slot) {
    wait_until(sub { slot($slot, 'active') ne 't' }, 10, "the end of the slot's user");
    sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'");
}

sql('CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY)');
add(3);

# ---- the table of modes ----

# What comes with a new slot; with one that is there and has one change pending; with the state
# file of the first run and one more change.  R: the rows.  p: the change.  -: refused.
my %modes = (
    initial => ['R', 'R', 'p'], when_needed => ['R', 'R', 'p'], always => ['R', 'R', 'R'],
    snapshot => ['R', 'R', ''], initial_only => ['R', 'R', ''],
    'latest-offset' => ['', '', 'p'], never => ['', 'p', 'p'], no_data => ['', 'p', 'p'], schema_only => ['', 'p', 'p'],
    'committed-offset' => ['-', 'p', 'p'], schema_only_recovery => ['-', 'p', 'p'], recovery => ['-', 'p', 'p'],
);
sub expected ($letter) { return { R => "r1..$n", p => "c$n", '' => '' }->{$letter} }

for my $mode (sort keys %modes) {
    my ($with_new, $with_slot, $with_state) = @{ $modes{$mode} };
    my $ends = $mode eq 'snapshot' || $mode eq 'initial_only';
    my @now = $ends ? () : (-E => 'now');
    my $slot = 'm_' . $mode =~ tr/-/_/r;

    # a new slot
    if ($with_new eq '-') {
        my $r = run($slot, $mode, @now);
        $r->exited(2, "$mode, no slot: status 2");
        like($r->err, qr/^cdcdump: error: replication slot "$slot" does not exist$/m, "$mode, no slot: says so");
    } else {
        gives(run($slot, $mode, @now), expected($with_new), "$mode, a new slot");
    }
    has_slot($slot, !$ends && $with_new ne '-', "$mode, a new slot: " . ($ends ? 'leaves none behind' : 'stays'));
    drop($slot);

    # one that is there
    for my $file ($mode =~ /^(?:initial|always)$/ ? (0, 1) : $with_slot eq 'R' ? 1 : 0) {
        my $name = "$mode, a slot that was there" . ($file ? ' and a state file to be' : '');
        run($slot, 'never', -E => 'now')->exited(0, 'a slot');
        add();
        my $confirmed = slot($slot, 'confirmed_flush_lsn');
        gives(run($slot, $mode, @now, $file ? state_of($slot) : ()), expected($with_slot), $name);
        has_slot($slot, 1, "$name: it stays");
        is(slot($slot, 'confirmed_flush_lsn'), $confirmed, "$name: unmoved") if $mode eq 'initial_only';
        add();
        gives(run($slot, 'never', -E => 'now'), $mode eq 'initial_only' ? 'c' . ($n - 1) . "..$n" : "c$n", "$name: the slot goes on behind that");
        drop($slot);
        unlink "$dir/$slot.json";
    }

    # with a state file
    my @state = state_of($slot);
    run($slot, 'never', -E => 'now')->exited(0, 'a slot') if $with_new eq '-';
    gives(run($slot, $mode, @now, @state), $with_new eq '-' ? '' : expected($with_new), "$mode with a state file, first run");
    has_slot($slot, !$ends, "$mode with a state file: " . ($ends ? 'leaves no slot' : 'leaves the slot'));
    is(saved($slot)->{phase}, $ends ? 'complete' : 'streaming', "$mode: the phase on record");
    add();
    my $r = gives(run($slot, $mode, @now, @state), expected($with_state), "$mode with a state file, second run");
    if ($ends) {
        is($r->err, "cdcdump: the rows have been read already: there is nothing left to do\n", "$mode: says that nothing is left to do");
        has_slot($slot, 0, "$mode: creates none for that");
        gives(run($slot, $mode, @state), '', "$mode with a state file, third run");
    } else {
        add();
        gives(run($slot, $mode, @now, @state), $mode eq 'always' ? "r1..$n" : "c$n", "$mode with a state file, third run");
        add();
        # whatever mode the file was written in, it wins
        gives(run($slot, 'initial', -E => 'now', @state), "c$n", "$mode, then initial: goes on");
        add();
        gives(run($slot, 'latest-offset', -E => 'now', @state), "c$n", "$mode, then latest-offset: goes on");
    }
    drop($slot);
}
my $r = run('m_x', 'schema-only');
$r->exited(2, 'an unknown mode');
is($r->err, qq(cdcdump: error: invalid startup mode "schema-only": must be one of initial, latest-offset, never, no_data, schema_only, )
    . "committed-offset, schema_only_recovery, recovery, snapshot, initial_only, when_needed, always\n"
    . qq(HINT:  Try "cdcdump --help" for more information.\n), 'names all allowed ones');

# The state file of a run that ends by itself, in another mode: the slot has gone with it.
gives(run('ended', 'snapshot', state_of('ended')), "r1..$n", 'mode snapshot');
$r = run('ended', 'initial', -E => 'now', state_of('ended'));
$r->exited(4, 'its state file with mode initial');
like($r->err, qr/position lost: replication slot "ended" does not exist/, 'says why');
gives(run('ended', 'when_needed', -E => 'now', state_of('ended')), "r1..$n", 'but when_needed begins anew');
drop('ended');
gives(run('lonely', 'initial_only', state_of('lonely')), "r1..$n", 'initial_only');
is(sql(q(SELECT count(*) FROM pg_publication WHERE pubname = 'cdcdump_lonely')), 0, 'creates no publication either');

# In mode snapshot the changes that were committed while rows were read come too, and no later ones.
{
    my $c = start('while', 'snapshot', '--snapshot-query', 'public.t=SELECT * FROM t WHERE id < 3 OR pg_sleep(0.02) IS NOT NULL', '--schema-events');
    $c->wait_stderr(qr/created replication slot/);
    sleep 0.1;
    sql("UPDATE t SET name = 'while' WHERE id = 2");
    my $r = $c->wait(10);
    gives($r, "r1..$n u2", 'snapshot, with a change while rows are read');
    has_slot('while', 0, 'and no slot is left');
    is(scalar(grep { $_->{tableChanges} } $r->records), 1, 'the columns are told once, over rows and stream');
}
for my $mode (qw(initial snapshot initial_only when_needed always)) {
    my $slot = "start_$mode";
    my $at = sql('SELECT pg_current_wal_lsn()');
    $r = run($slot, $mode, -I => $at, -E => 'now');
    $r->exited(2, "$mode with -I");
    is($r->out, '', 'gives nothing');
    has_slot($slot, 0, 'and creates no slot');
    run($slot, 'never', -E => 'now')->exited(0, 'a slot');
    $r = run($slot, $mode, -I => $at, '--force', -E => 'now');
    $r->exited(2, "$mode with -I and a slot");
    like($r->err, qr/^cdcdump: error: a start position cannot be chosen for a snapshot$/m, 'says so');
    drop($slot);
}

# ---- no tables, no rows ----

{
    my @none = (server => $pg, db => 'shop', timeout => 10);
    for my $mode (qw(initial snapshot initial_only)) {
        for my $how ([], ['--snapshot=incremental']) {
            next if $mode eq 'initial_only' && @$how;
            my $r = Cdc->run(@none, args => [-S => "empty_$mode", -m => $mode, -t => 'other', -E => 'now', @$how, state_of("empty_$mode")]);
            gives($r, '', "$mode @$how of an empty table");
            drop("empty_$mode");
            unlink "$dir/empty_$mode.json";
        }
    }
}

# ---- when_needed ----

# How a position is lost, given a slot and its state file.
my %losses = (
    'the slot is dropped' => sub ($slot) { drop($slot) },
    'the slot is dropped and created again' => sub ($slot) { drop($slot); sql("SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')"); add() },
    'somebody else reads from the slot' => sub ($slot) { add(); gives(run($slot, 'never', -E => 'now'), "c$n", 'somebody else') },
    'the slot is invalidated' => sub ($slot) {
        $pg->append_conf('max_slot_wal_keep_size = 1MB');
        $pg->reload;
        for (1 .. 30) {
            sql('SELECT pg_logical_emit_message(false, \'\', repeat(\'x\', 100000)) FROM generate_series(1, 30); CHECKPOINT');
            last if slot($slot, 'wal_status') eq 'lost';
        }
        is(slot($slot, 'wal_status'), 'lost', 'the slot is lost');
        $pg->append_conf('max_slot_wal_keep_size = -1');
        $pg->reload;
    },
);
my $number = 0;
for my $loss (sort keys %losses) {
    for my $out ('pipe', 'file') {
        for my $first ('initial', 'never') {
            next if $first eq 'never' && ($out eq 'pipe' || $loss ne 'the slot is dropped');
            my $slot = 'lost' . ++$number;
            my @how = (-E => 'now', state_of($slot), $out eq 'file' ? (-f => "$dir/$slot.out") : ());
            my $output = sub ($r) { $out eq 'file' ? slurp("$dir/$slot.out") : $r->out };
            run($slot, $first, @how)->exited(0, "$loss, $out: a first run");
            add();
            my $before = $output->(run($slot, $first, @how));
            is(gist($before), ($first eq 'initial' && $out eq 'file' ? 'r1..' . ($n - 1) . ' ' : '') . "c$n", "$loss, $out: a second");
            $losses{$loss}->($slot);
            add();
            my $file = slurp("$dir/$slot.json");
            for my $mode (qw(initial never always snapshot)) {
                next if $mode eq 'never' && $first eq 'initial' || $mode eq 'initial' && $first eq 'never';
                my $r = run($slot, $mode, @how);
                $r->exited(4, "$loss, $out, mode $mode: position lost");
                like($r->err, qr/^cdcdump: error: .*(?:position lost|changes .* cannot be had|invalidated|lost)/m, 'says so') or diag($r->err);
                ok($file eq slurp("$dir/$slot.json"), 'the state file is left alone');
                is($r->out, '', 'nothing is given');
            }
            my $r = run($slot, 'when_needed', @how);
            $r->exited(0, "$loss, $out: when_needed goes on") or next;
            like($r->err, qr/^cdcdump: taking a new snapshot, as the startup mode asks$/m, 'says what it does');
            is(gist($output->($r)), ($out eq 'file' ? gist($before) . ' ' : '') . "r1..$n", 'and gives all rows');
            add();
            is(gist(run($slot, 'when_needed', @how)) || gist($output->($r)) =~ s/.* //r, "c$n", 'then goes on from there');
            is(saved($slot)->{phase}, 'streaming', 'which is on record');
            drop($slot);
        }
    }
}

# Lost while it runs.
{
    my $c = start('lost_live', 'when_needed', state_of('lost_live'), '--retry-delay=1');
    $c->read_until(qr/"id":$n,/);
    wait_until(sub { saved('lost_live')->{phase} eq 'streaming' }, 10, 'the rows on record');
    # In one transaction, which has to end before there can be another slot, and its rows: again where
    # cdcdump was quicker to come back.
    $n++;
    wait_until(sub {
        $pg->terminate_slot_user('lost_live');
        return ($session->try("BEGIN; INSERT INTO t VALUES ($n, 'gone'); SELECT pg_drop_replication_slot('lost_live'); COMMIT"))[0];
    }, 10, 'the slot to be dropped');
    is(gist([map { records("$_\n") } $c->read_until(qr/"id":$n,/)]), "r1..$n", 'the slot is dropped while it runs: when_needed gives all rows');
    add();
    is(gist([map { records("$_\n") } $c->read_until(qr/"id":$n,/)]), "c$n", 'then goes on');
    $c->stop('TERM')->exited(0, 'the end');
    drop('lost_live');
}

done_testing;
