# Avro: files that were cut anywhere behind, or in, what was accepted, with the state file of that point;
# and a run that is killed at each step of its first writing.
use v5.36;
use CdcTest;
use CdcTest::Formats;

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
$pg->create_db('shop');
my $dir = scratch();

sub sql ($text) { return $pg->sql('shop', $text) }
sub args ($slot, @args) { return [-S => $slot, qw(-m never -E now -F avro -e plain --state), "$dir/$slot.json", @args] }
sub run ($slot, @args) { return Cdc->run(server => $pg, db => 'shop', args => args($slot, @args)) }

# ---- cut at every byte ----

# With the state of the accepted part, whatever stands behind it goes, and the same comes again.
{
    sql('CREATE TABLE cut (id int PRIMARY KEY, v text)');
    my @args = (qw(-t cut -e flink --changelog-mode=upsert --codec=null -f), "$dir/cut.avro");
    run('cut', @args)->exited(0, 'cut: a slot');
    sql("INSERT INTO cut VALUES (1, 'a')");
    run('cut', @args)->exited(0, 'cut: a first block');
    my ($state, $accepted) = map { slurp("$dir/cut.$_") } qw(json avro);
    sql("SELECT pg_copy_logical_replication_slot('cut', 'kept'); INSERT INTO cut VALUES (2, 'b')");
    my $again = sub ($bytes) {
        spew("$dir/cut.json", $state);
        # the same file: a state file knows it by its inode, too
        open my $fh, '+<:raw', "$dir/cut.avro" or die "cut.avro: $!";
        truncate $fh, 0;
        print $fh $bytes;
        close $fh;
        sql("SELECT pg_drop_replication_slot('cut'); SELECT pg_copy_logical_replication_slot('kept', 'cut')");
        return run('cut', @args);
    };
    $again->($accepted)->exited(0, 'cut: a last block');
    my $want = slurp("$dir/cut.avro");
    is(join(' ', map { $_->{row}{id} } avro("$dir/cut.avro")), '1 2', 'cut: both are there');
    my @wrong;
    for my $length (length $accepted .. length $want) {
        my $r = $again->(substr $want, 0, $length);
        push @wrong, "cut to $length of " . length($want) . ': ' . $r->describe if $r->exit != 0 || slurp("$dir/cut.avro") ne $want;
    }
    is(scalar @wrong, 0, 'cut: at every byte of the last block, and read on to the same') or diag($wrong[0]);
    cmp_ok(length($want) - length $accepted, '>', 40, 'cut: those were some');
    $again->($want . 'garbage' x 1000)->exited(0, 'cut: with garbage behind it');
    ok(slurp("$dir/cut.avro") eq $want, 'cut: which goes');
    # shorter than what was accepted: somebody took something away
    my $r = $again->(substr $want, 0, length($accepted) - 1);
    $r->exited(2, 'cut: what was accepted is not there any more');
    is(-s "$dir/cut.avro", length($accepted) - 1, 'cut: and nothing is written');
}

# ---- the head ----

# Killed as it enters each of the first calls that write, sync or rename: so there is no file, an empty
# one, a head without a block, or a block that is not on record.
SKIP: {
    my $strace = CdcTest::Process::find_program('strace');
    my $works = $strace && eval {
        CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', '-e', 'inject=write:signal=KILL:when=1', 'echo'])->{signal};
    };
    skip_without($works, 'strace cannot inject signals here', 4);
    sql(q(CREATE TABLE head (id int PRIMARY KEY, v text); SELECT pg_create_logical_replication_slot('unread', 'pgoutput'); CREATE PUBLICATION head FOR TABLE head;
        INSERT INTO head VALUES (1, 'x'); INSERT INTO head VALUES (2, 'y')));
    my ($hits, %left, @wrong) = (0);
    for my $step (map { my $call = $_; map { [$call, $_] } 1 .. 3 } qw(write fdatasync fsync rename)) {
        my ($call, $n) = @$step;
        my $slot = "k_$call$n";
        sql("SELECT pg_copy_logical_replication_slot('unread', '$slot')");
        my @args = (qw(-t head --publication=head --publication-mode=existing --codec=null -f), "$dir/$slot.avro");
        my $r = Cdc->run(server => $pg, db => 'shop', args => args($slot, @args), env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
            wrap => [$strace, '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n"]);
        $hits++ if defined $r->signal && $r->signal == 9;
        my $length = -s "$dir/$slot.avro" // 0;
        $left{$length}++;
        $r = run($slot, @args);
        my $ids = eval { join ' ', map { $_->{row}{id} } avro("$dir/$slot.avro") } // $@;
        push @wrong, "$call $n, which left $length bytes: $ids; " . $r->describe if $r->exit != 0 || $ids ne '1 2';
    }
    cmp_ok($hits, '>=', 6, 'killed at steps of the first run') or note($hits);
    cmp_ok(scalar keys %left, '>=', 2, 'which left files of different lengths');
    is(scalar @wrong, 0, 'the next run has each record once') or diag(map { "$_\n" } @wrong[0 .. ($#wrong > 2 ? 2 : $#wrong)]);
}

done_testing;
