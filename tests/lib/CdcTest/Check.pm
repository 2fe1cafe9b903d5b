# CdcTest::Check - cdcdump --check, and whether the capture does what it has said.
#
#   my $check = CdcTest::Check->new(server => $pg, db => 'shop', dir => $dir);
#   my $c = $check->predicts(2, 'what is wrong', '-S', 's', '-t', 'nothing');
#   like($c->line('error'), qr/no table matches/, 'said so');
#   $c->remedy(qr/reason/)               # what stands behind "; remedy: " in that line
#   $c->lines                            # all of them
#
# predicts() is several tests: --check ends with that status, its lines have their form and none comes
# twice, the first error is there just when the status is not 0, slots, publications, replica identities
# and the files in dir are as they were; and a capture with the same options and -E now ends with that
# status.  What comes before the options may be a hash: user => 'app' and other parameters of the
# connection, env => {...}, stdout => of the capture, capture => 0 (no capture is run).
#
# looks(...) is the same without a capture.
package CdcTest::Check;
use v5.36;

use Digest::MD5 ();
use Test::More ();

use Cdc;

sub new ($class, %how) { return bless {%how}, $class }

sub predicts ($self, $status, $name, @args) {
    my $how = @args && ref $args[0] ? shift @args : {};
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $result = $self->looks($status, $name, $how, @args);
    return $result if exists $how->{capture} && !$how->{capture};
    my $run = $self->_run($how, $how->{stdout} // "pipe", @args, "-E", "now");
    $run->exited($status, "$name: so it is with the capture");
    return $result;
}

sub looks ($self, $status, $name, @args) {
    my $how = @args && ref $args[0] ? shift @args : {};
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = $self->_world;
    my $run = $self->_run($how, "pipe", "--check", @args);
    $run->exited($status, "$name: status $status");
    Test::More::is($self->_world, $before, "$name: nothing was changed");
    my $result = bless { lines => [split /\n/, $run->out], err => $run->err }, 'CdcTest::Check::Result';
    $result->_has_form($status, $name);
    return $result;
}

sub _run ($self, $how, $where, @args) {
    my %conn = map { ($_ => $how->{$_}) } grep { !/\A(?:env|stdout|capture|db)\z/ } keys %$how;
    my $conninfo = $self->{server}->connstr($how->{db} // $self->{db}, %conn);
    return Cdc->run(args => ['-d', $conninfo, @args], stdout => $where, env => $how->{env} // {});
}

# All that --check must leave as it is.
sub _world ($self) {
    my $pg = $self->{server};
    my @parts = map { -f ? "$_ " . (stat)[9] . ' ' . _digest($_) : $_ } $self->{dir} ? sort glob "$self->{dir}/*" : ();
    push @parts, $pg->sql($self->{db}, q{
        SELECT slot_name, plugin, confirmed_flush_lsn, restart_lsn FROM pg_replication_slots ORDER BY 1;
        SELECT p.*, r.prrelid::regclass FROM pg_publication p LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid ORDER BY p.oid, r.prrelid;
        SELECT oid::regclass, relreplident FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384 ORDER BY oid;
        SELECT name, setting FROM pg_settings WHERE source LIKE '%file' ORDER BY 1}) if $pg->running;
    return join "\n", @parts;
}

sub _digest ($path) {
    open my $fh, '<:raw', $path or return "$!";
    return Digest::MD5->new->addfile($fh)->hexdigest;
}

package CdcTest::Check::Result;
use v5.36;

sub lines ($self) { return @{ $self->{lines} } }
sub err ($self) { return $self->{err} }

sub _has_form ($self, $status, $name) {
    my (%seen, @bad);
    for my $line ($self->lines) {
        push @bad, "no finding: $line" if $line !~ /\A(?:ok|warning|error): \S.*[^.\s]\z/;
        push @bad, "twice: $line" if $seen{$line =~ s/; remedy: .*//r}++;
        push @bad, "an ok with a remedy: $line" if $line =~ /\Aok: .*; remedy: /;
    }
    push @bad, 'no finding at all' unless $self->lines;
    push @bad, 'status 0 with an error' if $status == 0 && $self->line('error');
    push @bad, "status $status without an error" if $status != 0 && !$self->line('error');
    Test::More::is(join("\n", @bad), '', "$name: findings, each once");
    Test::More::is($self->err, '', "$name: nothing on standard error");
}

# The first line of that level (ok, warning, error) that matches; "" where there is none.
sub line ($self, $level, $regex = qr//) {
    my ($line) = grep { /\A$level: / && $_ =~ $regex } $self->lines;
    return $line // '';
}

# The remedy of the first line that matches; "" where it has none.
sub remedy ($self, $regex) {
    my ($line) = grep { /\A(?:warning|error): / && $_ =~ $regex } $self->lines;
    return ($line // '') =~ /; remedy: (.*)\z/ ? $1 : '';
}

1;
