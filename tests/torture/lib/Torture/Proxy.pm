# Torture::Proxy - a TCP proxy in front of a server, which can be told to fail; see tests/torture/proxy.
#
#   my $p = Torture::Proxy->new($pg->port);
#   $p->port;  my ($connections, $bytes) = $p->ask('reset');
package Torture::Proxy;
use v5.36;

use IO::Handle;

use Cdc;
use CdcTest::Process;

sub new ($class, $server_port) {
    pipe my $in, my $to or die "pipe: $!\n";
    pipe my $from, my $out or die "pipe: $!\n";
    my $self = bless { to => $to, from => $from }, $class;
    $self->{process} = CdcTest::Process->spawn(argv => [$^X, "$Cdc::TOP/tests/torture/proxy", $server_port], stdin => $in, stdout => $out);
    $to->autoflush(1);
    ($self->{port}) = $self->ask('ports');
    return $self;
}

sub port ($self) { return $self->{port} }

# The words of the answer.
sub ask ($self, @command) {
    local $SIG{PIPE} = 'IGNORE';
    print { $self->{to} } "@command\n";
    my $answer = readline $self->{from};
    die "the proxy has gone\n" unless defined $answer;
    return split ' ', $answer;
}

1;
