# Bench::Reader - who reads a backlog, and how what came of it is counted.
#
#   my $r = Bench::Reader::cdcdump(what => 'csv flink', transport => 'sql', over => 'TCP',
#       args => [qw(-F csv -e flink)], ...);
#   my $p = Bench::Reader::recvlogical(plugin => 'wal2json', over => 'unix');
#   my $f = Bench::Reader::floor_of(over => 'TCP');
#
#   $r->{name}  $r->{plugin}           what it is called in the report; no two are the same
#   $r->argv($backlog, $slot, $to)     the command; $to is the position at which it ends
#   $r->counter                        a program that counts its output, or nothing
#   $r->moves                          whether the slot is at the end afterwards
#
# recvlogical() is pg_recvlogical with the plugin's options that cdcdump sends; floor_of() is psql
# with a COPY of pg_logical_slot_peek_binary_changes(), which is what there is to gain by slot
# functions.
#
# Of cdcdump:
#   what       first part of the name; default the plugin, unless it is pgoutput
#   over       TCP (default) or unix
#   transport  stream, sql or auto
#   plugin     pgoutput (default), ...
#   args       more options
#   piped      into cat
#   beside     [[name of a peer, target of the ratio or undef], ...]
#   lines      what a record begins with in its line, avro => 1 where it has none; default {
#   counted    0 where what it gives has been counted before
package Bench::Reader;
use v5.36;

use Cdc;
use PgServer;

# In the plugins' own output, where pg_recvlogical puts a newline behind each message.  A row of
# decoderbufs may have newlines in it, but names its table once.  pgoutput's messages are not found
# like this.
my %ROW = (
    wal2json           => '^{"action":"[IUD]"',
    wal2json_streaming => '^,?{"kind":"',
    decoderbufs        => 'public\.products',
    test_decoding      => '^table public\.products: [IUD]',
);

# What the server calls the plugin.
sub library ($plugin) { return $plugin =~ s/_streaming\z//r }

sub new ($class, %how) {
    my $self = bless { plugin => 'pgoutput', over => 'TCP', counted => 1, beside => [], %how },
        $class;
    $self->{name} = join ', ', grep { defined } @$self{qw(what transport over)},
        $self->{piped} ? 'into cat' : ();
    return $self;
}

sub other_plugin ($how) {
    my $plugin = $how->{plugin} // 'pgoutput';
    return $plugin eq 'pgoutput' ? undef : $plugin;
}

sub cdcdump (%how) {
    return Bench::Reader->new(kind => 'cdcdump', what => other_plugin(\%how), lines => '^{', %how);
}

sub recvlogical (%how) {
    my $what = join ' ', 'pg_recvlogical', grep { defined } other_plugin(\%how);
    my $lines = $ROW{ $how{plugin} // '' };
    return Bench::Reader->new(kind => 'recvlogical', what => $what, lines => $lines, %how);
}

sub floor_of (%how) { return Bench::Reader->new(kind => 'floor', what => 'COPY of peek', %how) }

sub moves ($self) { return $self->{kind} ne 'floor' }

# Whether it writes messages so that only a peer by SQL can tell how many there are.
sub is_raw ($self) { return $self->{kind} eq 'recvlogical' && !$self->{lines} }

# Other plugins have no use for one.
sub publication ($plugin) {
    return $plugin eq 'pgoutput' ? qw(--publication bench --publication-mode existing) : ();
}

sub argv ($self, $backlog, $slot, $to) {
    my $server = $backlog->connstr($self->{over});
    my %of = (cdcdump => \&cdcdump_argv, recvlogical => \&recvlogical_argv, floor => \&floor_argv);
    return $of{ $self->{kind} }->($self, $server, $slot, $to, $backlog->sent($self->{plugin}));
}

sub cdcdump_argv ($self, $server, $slot, $to, $) {
    my $plugin = $self->{plugin};
    return [$Cdc::BINARY, '-d', $server, '-S', $slot, '-P', $plugin, '-m', 'never',
            publication($plugin), '-E', $to, '--transport', $self->{transport},
            @{ $self->{args} // [] }];
}

sub recvlogical_argv ($self, $server, $slot, $to, $sent) {
    return [PgServer::bindir() . '/pg_recvlogical', '-d', $server, '-S', $slot,
            qw(--start --no-loop -f -), '--endpos', $to, map { ('-o', "$_->[0]=$_->[1]") } @$sent];
}

sub floor_argv ($self, $server, $slot, $to, $sent) {
    my $options = join '', map { ", '$_'" } map { @$_ } @$sent;
    return [PgServer::bindir() . '/psql', '-X', '-d', $server, '-c',
            'COPY (SELECT lsn, xid, data FROM pg_logical_slot_peek_binary_changes('
            . "'$slot', '$to', NULL$options)) TO STDOUT (FORMAT binary)"];
}

# A program that writes how many changes there are in how many bytes, the latter alone for is_raw().
sub counter ($self) {
    return () if !$self->{counted};
    return ($^X, '-ne', '$b += length; END { print "0 $b\n" }') if $self->is_raw;
    return ($^X, '-e', copy_counter()) if $self->{kind} eq 'floor';
    return ($^X, '-e', avro_counter()) if $self->{avro};
    return ($^X, '-ne', '$b += length; $n++ if /' . $self->{lines} . '/; END { print "$n $b\n" }');
}

# Blocks of an Avro file: each says how many records it has.
sub avro_counter () {
    return <<~'PERL';
        sub bytes { my ($n) = @_; $n == read STDIN, my $s, $n or die "torn\n"; $b += $n; return $s }
        sub long {
            my ($n, $shift, $byte) = (0, 0, 128);
            while ($byte & 128) { $byte = ord bytes(1); $n |= ($byte & 127) << $shift; $shift += 7 }
            return $n >> 1;
        }
        bytes(4) eq "Obj\1" or die "no container file\n";
        while (my $pairs = long()) { bytes(long()) for 1 .. 2 * $pairs }
        my $sync = bytes(16);
        until (eof STDIN) {
            $n += long();
            bytes(long());
            bytes(16) eq $sync or die "no sync marker behind a block\n";
        }
        print "$n $b\n";
        PERL
}

# Rows of a binary COPY with three columns, the last of them a message of pgoutput; one byte more
# for each, as pg_recvlogical writes them.
sub copy_counter () {
    return <<~'PERL';
        sub bytes { my ($n) = @_; $n == read STDIN, my $s, $n or die "torn\n"; return $s }
        sub field { return bytes(unpack 'N', bytes(4)) }
        bytes(19);
        while ((my $fields = unpack 'n', bytes(2)) != 0xFFFF) {
            $fields == 3 or die "$fields columns\n";
            field(), field();
            my $message = field();
            $b += 1 + length $message;
            $n++ if $message =~ /\A[IUD]/;
        }
        print "$n $b\n";
        PERL
}

1;
