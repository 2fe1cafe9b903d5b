# Two ways by which changes come, the replication stream and slot functions through SQL: what is written is the same.
use v5.36;
use CdcTest;
use CdcTest::Plugins;
use CdcTest::Transports;

my $pg = PgServer->new(initdb => ['--wal-segsize=1'], extra_conf => {
    max_replication_slots => 60, max_wal_senders => 20, logical_decoding_work_mem => '64kB', work_mem => '64kB' });
create_tables($pg, 'shop');
my %all;
$all{stream} = CdcTest::Plugins->new(server => $pg, db => 'shop', name => 'stream')->create;
$all{$_} = $all{stream}->copy($_) for qw(sql auto wide kept);
my $at = backlog($pg, 'shop');
my $dir = scratch();
my @everything = (qw(--transactions --schema-events), $pg->version >= 14 ? "--messages" : ());

# ---- every plugin, every way ----

# A capture of a slot for that plugin, up to an end; @how: options.
sub start ($set, $plugin, @how) {
    return $all{$set}->start($plugin, \@how, stdout => ">$dir/$set.$plugin");
}

my %args = (stream => ['-v', '--transport=stream'], sql => [@SMALL, '--transport=sql'], auto => [@SMALL, '--transport=auto'],
    wide => ['-v', '--catch-up-bytes=600kB']);
my @plugins = grep { !/_rds/ } $all{stream}->plugins;    # those are their namesakes by another name
my %run;
for my $way (qw(stream sql auto wide)) {
    my %under_way = map { ($_ => start($way, $_, @{ $args{$way} }, @everything, qw(-E now))) }
        grep { $way =~ /stream|sql/ || /pgoutput/ || /streaming/ == ($way eq 'wide') } @plugins;
    $run{$_}{$way} = $under_way{$_}->wait for keys %under_way;
}
for my $plugin (@plugins) {
    my ($want, $sql, $auto, $wide) = @{ $run{$plugin} }{qw(stream sql auto wide)};
    $run{$plugin}{$_}->exited(0, "$plugin, $_: exit status 0") for sort keys %{ $run{$plugin} };
    is(pieces($want), 0, "$plugin, stream: not through SQL");
    cmp_ok($want->out =~ tr/\n//, '>', 3000, "$plugin, stream: many records");
    cmp_ok(pieces($sql), '>=', 10, "$plugin, sql: through SQL, in many pieces") or diag($sql->err);
    is(streams($sql), 0, "$plugin, sql: nothing else") or diag($sql->err);
    if ($auto) {
        # a transaction that begins near the beginning lets small pieces cost more and more
        like($auto->err, qr/through SQL\n(?s:.*)not reading through SQL: [^\n]* the server would decode the WAL from \S+ on again[^\n]*\n(?s:.*)streaming from/, "$plugin, auto: over to the stream");
        cmp_ok(pieces($auto), '>=', 10, "$plugin, auto: after many pieces");
    }
    if ($wide) {
        cmp_ok(pieces($wide), '>=', 3, "$plugin, large pieces: some") or diag($wide->err);
        is(streams($wide), 0, "$plugin, large pieces: no reason to stream") or diag($wide->err);
    }
    same(timeless($run{$plugin}{$_}->out), timeless($want->out), "$plugin, $_: what the stream gives") for grep { $_ ne 'stream' } sort keys %{ $run{$plugin} };
}
copies_are_gone($pg, 'every plugin');

# ---- ends within the backlog ----

# The positions lie in the first part, and not where pieces end.
my @commits = do {
    my %seen;
    grep { !$seen{$_}++ } $run{pgoutput}{stream}->out =~ /"commit_lsn":(\d+),"tx_seq":1\}/g;
};
my ($first, $later) = map { $commits[$_ * @commits] } 0.2, 0.45;
my ($moment) = $run{pgoutput}{stream}->out =~ /"ts_us":(\d+),[^\n]*"commit_lsn":$later,/;
my %bounds = (
    'at a commit record' => ['-E' => lsn_text($first)], 'right before one' => ['-E' => lsn_text($later - 1)], 'within one' => ['-E' => lsn_text($later + 9)],
    'at a time' => ['-E' => $pg->sql('shop', "SET timezone = 'UTC'; SELECT timestamptz 'epoch' + $moment * interval '1 microsecond'")],
    'after some records' => [qw(--count=700)],
);
my $number = 0;

# One more reading of what the slots named kept_ still have.
sub again ($plugin, $stdout, @how) {
    my $slot = 'again_' . ++$number;
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('kept_$plugin', '$slot')");
    my @publication = $plugin eq 'pgoutput' ? ('--publication' => $all{stream}{publication}, qw(--publication-mode existing)) : ();
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => ['-S', $slot, '-P', $plugin, qw(-m never), @publication, @how]);
}

my %way = (stream => ['--transport=stream'], sql => [@SMALL, '--transport=sql']);
for my $bound (sort keys %bounds) {
    my (%under_way, %gave);
    for my $plugin (qw(pgoutput test_decoding)) {
        next if $all{stream}->missing->{ CdcTest::Plugins::library_of($plugin) };
        $under_way{$plugin}{$_} = again($plugin, ">$dir/$plugin.$_", @{ $way{$_} }, @{ $bounds{$bound} }) for sort keys %way;
    }
    for my $plugin (sort keys %under_way) {
        $gave{$_} = $under_way{$plugin}{$_}->wait for keys %way;
        $gave{$_}->exited(0, "$plugin, $_, an end $bound: exit status 0") for sort keys %way;
        cmp_ok(pieces($gave{sql}), '>=', 1, "$plugin, an end $bound: through SQL");
        my $lines = $gave{stream}->out =~ tr/\n//;
        ok($lines > 100 && $lines < 3000, "$plugin, an end $bound: not the whole backlog") or diag($lines);
        # Where the commit's LSN is told at its end only, the stream finds out too late; in a piece of SQL it is not.
        my ($have, $want) = map { timeless($gave{$_}->out) } qw(sql stream);
        if ($bound eq 'right before one' && $plugin ne 'pgoutput') {
            ok($have ne $want && index($want, $have) == 0, "$plugin, an end $bound: exact");
            like(substr($want, length $have), qr/\A(?:[^\n]*"txId":(\d+),[^\n]*\n)(?:[^\n]*"txId":\1,[^\n]*\n)*\z/, "$plugin, an end $bound: the stream gives that one transaction more");
        } else {
            same($have, $want, "$plugin, an end $bound: the same one");
        }
    }
    $pg->sql('shop', q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'again%'));
}

# One after the other: a number of records, a time that is up, --idle-exit.
# Tables are told of by each run anew, and transactions name them in the order in which the run has met with them.
my $want = join '', grep { !/"tableChanges":|"status":"(?:BEGIN|END)"/ } split /(?<=\n)/, timeless($run{pgoutput}{stream}->out);
$pg->sql('shop', "SELECT pg_copy_logical_replication_slot('kept_pgoutput', 'timed')");
sub timed (@how) {
    my $r = Cdc->run(server => $pg, db => 'shop', stdout => ">>$dir/timed", args => [qw(-S timed -m never --publication-mode existing --publication), $all{stream}{publication},
        '--state', "$dir/timed.json", (grep { !/transactions|schema/ } @everything), @SMALL, @how]);
    $r->exited(0, "@how: exit status 0");
    return $r;
}
my $r = timed(qw(--transport=sql --count=500));
my $lines = slurp("$dir/timed") =~ tr/\n//;
ok($lines >= 500 && $lines < 1000, 'ends after so many') or diag($lines);
timed(qw(--transport=sql --max-time=0.1));
$r = timed(qw(--transport=sql --idle-exit=0.5));
like($r->err, qr{^cdcdump: reading through SQL from }m, '--idle-exit: through SQL');
is(streams($r), 0, '--idle-exit: to the end') or diag($r->err);
same(timeless(slurp("$dir/timed")), $want, 'all of them together: every change once');
copies_are_gone($pg, 'ends');

done_testing;
