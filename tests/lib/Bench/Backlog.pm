# Bench::Backlog - changes that wait behind a slot, which any number of readers read in turn.
#
#   my $found = Bench::Backlog::compare($pg, 'mixed', $rows, @readers);
#   $found->{title}  $found->{detail}  $found->{changes}
#   $found->{runs}{$name}          [{wall, user, system, rss}, ...], one for each round
#   $found->{bytes}{$name}         that one change has become
#   $found->{instructions}{$name}  of one change; start and end of the program are not in it
#   $found->{skipped}{$name}       why it has not been measured
#
# compare() takes a workload of Bench::Workload.  Each reader gets a copy of the same slot with the
# same changes in front of it.  First they are counted, by what comes out of each reader; dies where
# that is another number.  Then they take turns in rounds, and with each run the slot has to be at
# the end.  Instructions are counted on a twentieth of the workload, as the program is some fifty
# times slower then; those of a reader with instructions => 1.
package Bench::Backlog;
use v5.36;

use List::Util qw(uniq);

use Bench qw(progress rounds);
use Bench::Reader;
use Bench::Run;
use Bench::Workload;
use PgServer;

my $number = 0;    # of databases; what has failed leaves its own behind

sub compare ($pg, $name, $rows, @readers) {
    my $part = int($rows / 20) || 1;
    my $few = Bench::Backlog->new($pg, Bench::Workload::named($name, $part), @readers);
    my @there = grep { !$few->{skipped}{ $_->{name} } } @readers;
    $few->learn($_) for uniq map { $_->{plugin} } @there;
    my %instructions = map { $_->{name} => $few->instructions($_) }
        grep { $_->{instructions} } @there;
    $few->drop;

    my $all = Bench::Backlog->new($pg, Bench::Workload::named($name, $rows), @there);
    $all->{sent} = $few->{sent};
    my %bytes = map { $_->{name} => $all->count($_) } grep { $_->counter } @there;
    my $runs = rounds(sub ($reader) { $all->run($reader) }, @there);
    $all->drop;
    return { %{ $all->{workload} }, runs => $runs, bytes => \%bytes,
             instructions => \%instructions, skipped => $few->{skipped} };
}

# With a slot for each library that the readers need, and one more change behind those that are
# counted: on seeing it a reader knows that it is through.
sub new ($class, $pg, $workload, @readers) {
    my $db = 'bench_' . ++$number;
    my $self = bless { pg => $pg, db => $db, slot => "${db}_run", workload => $workload,
        skipped => {}, sent => {} }, $class;
    progress("$workload->{changes} changes: $workload->{title}");
    $pg->create_db($db);
    $pg->sql($db, "$workload->{create}; CREATE PUBLICATION bench FOR ALL TABLES");
    $self->make_slot($_, @readers) for uniq map { Bench::Reader::library($_->{plugin}) } @readers;
    $self->{start} = $pg->sql($db, 'SELECT pg_current_wal_insert_lsn()');
    ($self->{end}) = split /\n/, $pg->sql($db, "$workload->{fill};"
        . "SELECT pg_current_wal_insert_lsn(); SELECT txid_current(); $workload->{last}");
    return $self;
}

# pgoutput comes with the server, others may not be installed.
sub make_slot ($self, $library, @readers) {
    my ($status, undef, $why) = $self->{pg}->try_sql($self->{db},
        "SELECT pg_create_logical_replication_slot('$self->{db}_$library', '$library')");
    return if !$status;
    die $why if $library eq 'pgoutput';
    $self->{skipped}{ $_->{name} } = $why =~ s/\n.*//sr
        for grep { Bench::Reader::library($_->{plugin}) eq $library } @readers;
}

sub drop ($self) {
    my $db = $self->{db};
    $self->{pg}->sql($db, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
        WHERE database = '$db'");
    $self->{pg}->sql('postgres', "DROP DATABASE $db; CHECKPOINT");
}

sub connstr ($self, $over) {
    return $self->{pg}->connstr($self->{db}, $over eq 'TCP' ? (tcp => 1) : ());
}

# What the plugin is told by cdcdump, as [[name, value], ...]; known when learn() has been called.
sub sent ($self, $plugin) { return $self->{sent}{$plugin} // [] }

# Those that the server has accepted, which its log tells: cdcdump goes by what the plugin knows.
sub learn ($self, $plugin) {
    my $mark = $self->{pg}->log_mark;
    my $reader = Bench::Reader::cdcdump(transport => 'stream', plugin => $plugin);
    $self->run($reader);
    my $slot = qr/SLOT "$self->{slot}" LOGICAL/;
    my $command = qr/received replication command: START_REPLICATION $slot \S+(.*)/;
    my @commands = substr($self->{pg}->log_text, $mark) =~ /$command/g
        or die "the server's log does not tell what cdcdump has sent to $plugin\n";
    my @options;
    push @options, [$1, $2] while $commands[-1] =~ /([\w-]+)"? '([^']*)'/g;
    $self->{sent}{$plugin} = \@options;
}

# ---- runs ----

# To the end, or to another position.
sub run ($self, $reader, $to = $self->{end}) {
    my ($name, $argv) = $self->before($reader, $to);
    my ($run) = $reader->{piped} ? Bench::Run::into($name, $argv, 'sh', '-c', 'exec cat >/dev/null')
        : Bench::Run::timed($name, $argv, 'null');
    $self->after($reader, $to);
    return $run;
}

# Bytes of a change.
sub count ($self, $reader) {
    my ($changes, $bytes) = $self->look($reader);
    if ($reader->is_raw) {
        ($changes, my $others) = $self->look(Bench::Reader::floor_of(over => $reader->{over}));
        die "$reader->{name}: $bytes bytes instead of $others\n" if $bytes != $others;
    }
    my $expected = $self->{workload}{changes};
    die "$reader->{name}: $changes changes instead of $expected\n" if $changes != $expected;
    return $bytes / $changes;
}

# Changes and bytes that come out of the reader.
sub look ($self, $reader) {
    progress("counting: $reader->{name}");
    my ($name, $argv) = $self->before($reader, $self->{end});
    my (undef, $line) = Bench::Run::into($name, $argv, $reader->counter);
    $self->after($reader, $self->{end});
    return map { $_ || 0 } (split / /, $line)[0, 1];
}

# The program's start and end are what it takes where there is nothing to read.
sub instructions ($self, $reader) {
    my @counts;
    for my $to (@$self{qw(start end)}) {
        progress("instructions: $reader->{name}");
        push @counts, Bench::Run::instructions($self->before($reader, $to)) // return undef;
        $self->after($reader, $to);
    }
    return ($counts[1] - $counts[0]) / $self->{workload}{changes};
}

sub before ($self, $reader, $to) {
    my $base = "$self->{db}_" . Bench::Reader::library($reader->{plugin});
    my $slot = $self->{slot};
    $self->{pg}->sql($self->{db}, "SELECT pg_copy_logical_replication_slot('$base', '$slot')");
    return ($reader->{name}, $reader->argv($self, $slot, $to));
}

# Whoever moves it has told the server that it got to the end.
sub after ($self, $reader, $to) {
    my ($pg, $slot) = @$self{qw(pg slot)};
    PgServer::wait_until(sub { !$pg->slot($slot)->{active} }, 30, 'a slot that nobody uses');
    my $lsn = $pg->slot($slot)->{confirmed_flush_lsn};
    die "$reader->{name}: stopped at $lsn, before $to\n"
        if $reader->moves && PgServer::lsn_num($lsn) < PgServer::lsn_num($to);
    $pg->sql($self->{db}, "SELECT pg_drop_replication_slot('$slot')");
}

1;
