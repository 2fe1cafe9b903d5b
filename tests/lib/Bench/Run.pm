# Bench::Run - one run of a program, and what it has cost.
#
#   my $run = Bench::Run::timed($name, \@argv, $stdout);    # {wall, user, system, rss}
#   my ($run, $line) = Bench::Run::into($name, \@argv, @program);    # the same | program, and what
#                                                                    # that writes
#   my $count = Bench::Run::instructions($name, \@argv);    # as callgrind counts them
#   my $mib = Bench::Run::peak($pid);
#
# Seconds, CPU seconds and MiB of that one process: what others cost (cat, the server, the
# benchmark) is not in it.  All of them die when the program fails.
package Bench::Run;
use v5.36;

use File::Temp ();
use Time::HiRes qw(sleep time);

use Bench;
use CdcTest::Process;

# What it says is shown when it fails: pg_recvlogical repeats what plugins tell of themselves.
sub timed ($name, $argv, $stdout) {
    my $rss = 0;
    open my $said, '+>', undef or die "could not open a temporary file: $!\n";
    my (undef, undef, @before) = times;
    my $p = CdcTest::Process->spawn(argv => $argv, stdin => 'null', stdout => $stdout,
        stderr => $said);
    while ($p->running) {
        die "$name: not done after $Bench::LIMIT s\n" if time - $p->{started} > $Bench::LIMIT;
        $rss = peak($p->pid) // $rss;
        sleep 0.005;
    }
    my (undef, undef, @after) = times;
    seek $said, 0, 0;
    die "$name: failed\n", <$said> if ($p->exit // 1) != 0;
    return { wall => $p->{ended} - $p->{started}, rss => $rss,
             user => $after[0] - $before[0], system => $after[1] - $before[1] };
}

sub into ($name, $argv, @behind) {
    pipe my $from, my $to or die "pipe: $!\n";
    open my $result, '+>', undef or die "could not open a temporary file: $!\n";
    my $behind = CdcTest::Process->spawn(stdin => $from, stdout => $result, argv => \@behind);
    close $from;
    my $run = timed($name, $argv, $to);
    close $to;
    $behind->wait_exit($Bench::LIMIT) or die "$name: its output does not end\n";
    seek $result, 0, 0;
    chomp(my $line = <$result> // '');
    return ($run, $line);
}

# undef where there is no valgrind.
sub instructions ($name, $argv) {
    state $valgrind = CdcTest::Process::find_program('valgrind') // '';
    return undef if !$valgrind;
    my $log = File::Temp->new;
    timed($name, [$valgrind, '--tool=callgrind', '--callgrind-out-file=/dev/null',
        "--log-file=$log", @$argv], 'null');
    my ($count) = join('', <$log>) =~ /Collected : ([0-9]+)/
        or die "$name: callgrind has not told how many instructions there were\n";
    return $count;
}

# Not ru_maxrss: that has the peak of what was there before exec in it.
sub peak ($pid) {
    open my $fh, '<', "/proc/$pid/status" or return undef;
    my ($kib) = map { /^VmHWM:\s+([0-9]+)/ } <$fh>;
    return defined $kib ? $kib / 1024 : undef;
}

1;
