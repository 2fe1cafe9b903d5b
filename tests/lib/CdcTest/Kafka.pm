# CdcTest::Kafka - topics of a broker, written and read by the real kcat.
#
#   skip_all_without(CdcTest::Kafka::missing() eq '', CdcTest::Kafka::missing());
#   my $kafka = CdcTest::Kafka->new;
#   my $topic = $kafka->topic('shop.public.item', 4);          # 4 partitions
#   my $kcat = $kafka->producer($topic);                       # kcat -P -K '\t' -Z
#   my $c = Cdc->start(…, stdout => $kcat->stdin);             # cdcdump | kcat
#   $kcat->close_stdin;                                        # cdcdump alone has it now
#   $c->wait->exited(0, '…');
#   $kcat->exited(0, 'kcat has delivered all');                # a test
#   my @messages = $kafka->messages($topic);                   # in order within a partition
#   my %last = %{ CdcTest::Kafka::compacted(@messages) };      # key -> its last message, no tombstones
#
# A message is {partition, offset, key, value}; key and value are bytes, undef for null.
#
# The broker is the one that CDCTEST_KAFKA names (bootstrap servers; it has to create topics when they
# are first written to, and how many partitions they have is up to it), else a mock broker in memory
# (tests/kafka/mock_broker.c), which CDCTEST_MOCK_BROKER names.  With new(mock => 1) it is a mock one in
# any case, which also knows
#
#   $kafka->rtt($milliseconds)      each answer takes so long from now on
#   $kafka->stop                    it is gone, with all that it had
#
# A mock broker forgets what is more than 5 MiB in a partition; messages() dies where that has happened.
package CdcTest::Kafka;
use v5.36;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use Test::More ();
use Time::HiRes qw(sleep time);

use CdcTest::Process;

my $top = abs_path(dirname(__FILE__) . '/../../..');

# Where make puts it, for a test that is run alone.
sub mock_program () {
    my ($found) = grep { defined && -x } $ENV{CDCTEST_MOCK_BROKER},
        map { "$top/build/$_/tests/kafka/mock_broker" } qw(release sanitize);
    return $found;
}

# What is not there, in words; '' when everything is.
sub missing () {
    return 'kcat is not installed' unless CdcTest::Process::find_program('kcat');
    return 'no mock broker has been built, and CDCTEST_KAFKA names no other'
        unless $ENV{CDCTEST_KAFKA} || mock_program();
    return '';
}

sub new ($class, %opts) {
    my $self = bless { mock => $opts{mock} || !$ENV{CDCTEST_KAFKA} }, $class;
    # On a broker of somebody's, topics of former runs may still be there.
    $self->{prefix} = $self->{mock} ? '' : "cdctest-$$-" . time . '-';
    return $self->{mock} ? $self->_start_mock : do { $self->{servers} = $ENV{CDCTEST_KAFKA}; $self };
}

sub _start_mock ($self) {
    my $program = mock_program() or die "there is no mock broker\n";
    pipe my $in, $self->{to} or die "pipe: $!";
    pipe $self->{from}, my $out or die "pipe: $!";
    $self->{process} = CdcTest::Process->spawn(argv => [$program], stdin => $in, stdout => $out);
    close $_ for $in, $out;
    $self->{to}->autoflush(1);
    $self->{servers} = $self->_answer;
    return $self;
}

sub _answer ($self) {
    my $from = $self->{from};
    vec(my $ready = '', fileno $from, 1) = 1;
    select($ready, undef, undef, CdcTest::Process::patient(30)) > 0 or die "the mock broker does not answer\n";
    chomp(my $line = <$from> // die "the mock broker has ended\n");
    return $line;
}

sub _tell ($self, $command) {
    die "only a mock broker can do that: $command\n" unless $self->{mock};
    print { $self->{to} } "$command\n";
    $self->_answer eq 'ok' or die "the mock broker does not know: $command\n";
}

sub servers ($self) { return $self->{servers} }
sub is_mock ($self) { return $self->{mock} }
sub rtt     ($self, $ms) { $self->_tell("rtt $ms") }

sub stop ($self) {
    close $self->{to};
    $self->{process}->wait_exit(30) or die "the mock broker does not end\n";
}

# A new topic; returns its name.
sub topic ($self, $name, $partitions = 1) {
    my $topic = $self->{prefix} . $name;
    $self->_tell("topic $topic:$partitions") if $self->{mock};
    return $topic;
}

# ---- writing ----

# A kcat that writes into the topic what comes on its standard input, a pipe; from => FILE: the file.
# Idempotent, as a person should call it, so that a batch that is sent again changes no order.
sub producer ($self, $topic, %opts) {
    my @argv = ('kcat', '-P', '-b', $self->{servers}, '-t', $topic, '-K', '\t', '-Z',
                '-X', 'enable.idempotence=true', @{ $opts{args} // [] });
    my $kcat = bless { stderr => File::Temp->new }, 'CdcTest::Kafka::Producer';
    my $from = $opts{from};
    if (!defined $from) { pipe $from, $kcat->{stdin} or die "pipe: $!" }
    $kcat->{process} = CdcTest::Process->spawn(argv => \@argv, stdin => $from, stdout => 'null',
        stderr => '>>' . $kcat->{stderr}->filename);
    return $kcat;
}

# ---- reading ----

# All that is in the topic, partition by partition.
sub messages ($self, $topic) {
    my $r = CdcTest::Process->capture(argv => ['kcat', '-C', '-e', '-q', '-o', 'beginning', '-b', $self->{servers},
        '-t', $topic, '-X', 'check.crcs=true', '-X', 'fetch.wait.max.ms=10',
        '-f', '%p %o %K %S\n%k%s\n']);
    die "kcat could not read topic $topic: $r->{err}" if $r->{exit};
    my ($bytes, @messages) = $r->{out};
    pos($bytes) = 0;
    while ($bytes =~ /\G([0-9]+) ([0-9]+) (-1|[0-9]+) (-1|[0-9]+)\n/gc) {
        my %message = (partition => $1, offset => $2);
        for (['key', $3], ['value', $4]) {
            my ($name, $length) = @$_;
            next if $length < 0;
            $message{$name} = substr $bytes, pos($bytes), $length;
            pos($bytes) += $length;
        }
        $bytes =~ /\G\n/gc or die "kcat has written no message at byte " . pos($bytes) . "\n";
        push @messages, \%message;
    }
    die 'kcat has written no message at byte ' . pos($bytes) . "\n" if pos($bytes) != length $bytes;
    @messages = sort { $a->{partition} <=> $b->{partition} || $a->{offset} <=> $b->{offset} } @messages;
    my %first;
    $first{ $_->{partition} } //= $_->{offset} for @messages;
    die "topic $topic has lost its first messages: too many for a test\n" if grep { $_ } values %first;
    return @messages;
}

# What compaction leaves, once it is through: the last message of each key, if it is no tombstone.
# Messages of one key are in one partition, so their order is known.
sub compacted (@messages) {
    my %last;
    for my $message (@messages) {
        die "a message without a key cannot be compacted\n" unless defined $message->{key};
        my $before = $last{ $message->{key} };
        die "messages of one key are in two partitions\n"
            if $before && $before->{partition} != $message->{partition};
        $last{ $message->{key} } = $message;
    }
    delete @last{ grep { !defined $last{$_}{value} } keys %last };
    return \%last;
}

# CdcTest::Kafka::Producer - a kcat that writes.
#   stdin, close_stdin   the end of the pipe that goes into it
#   kill, running, pid   as of CdcTest::Process
#   wait                 waits for its end; kills it after so many seconds and dies
#   exited(0, $name)     waits for its end, a test
#   err                  what it has said
package CdcTest::Kafka::Producer;
use v5.36;

sub stdin ($self) { return $self->{stdin} }
sub close_stdin ($self) { close delete $self->{stdin} }

sub pid     ($self) { return $self->{process}->pid }
sub running ($self) { return $self->{process}->running }
sub kill    ($self, $signal = 'TERM') { return $self->{process}->kill($signal) }

sub err ($self) {
    open my $fh, '<', $self->{stderr}->filename or die "stderr: $!";
    local $/;
    return scalar(<$fh>) // '';
}

sub wait ($self, $timeout = 60) {
    return $self if $self->{process}->wait_exit($timeout);
    $self->{process}->kill_now;
    die "kcat did not end within $timeout seconds:\n" . $self->err;
}

sub exited ($self, $status, $name) {
    my $process = $self->wait->{process};
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::ok(defined $process->exit && $process->exit == $status, $name);
    Test::More::diag('kcat: ' . (defined $process->exit ? "exit status $process->{exit}" : "signal $process->{signal}")
        . "\n" . substr $self->err, -2000) unless $ok;
    return $ok;
}

1;
