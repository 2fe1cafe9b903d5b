# Torture::Judge - takes the records of one capture as they come, for as long as one likes, and says what is
# wrong with them.  It remembers the rows that they make up and the place of the last one, no more.
#
#   my $j = Torture::Judge->new(name => 'files', messages => 1, repeats => 0);
#   $j->begins($lsn);                      # a run begins; its state file says $lsn (number)
#   $j->take($record, $where);             # in the order of the output; dies at the first fault
#   $j->ends;                              # the run has ended, perhaps in the midst of a transaction
#   $j->compare($rows);                    # dies at the first row that is not as in Torture::Workload's rows()
#   $j->marked                             # number of the last of the workload's marks that came
#   $j->{transactions}, $j->{events}, $j->{messages}, $j->{repeated}, $j->{repeated_transactions}
#
# What has to hold:
#   - within a run events come in the order of (commit_lsn, tx_seq), tx_seq counts 1, 2, 3, …, and a transaction
#     follows only when the one before is whole: as long as the last event of the workload's transactions says
#   - the workload's count of transactions goes up by one, worker by worker: none is left out
#   - nothing comes twice.  With repeats => 1 (pipes, commands) a new run may begin before the place that the
#     last one had come to, at the beginning of a transaction that the state file had not on record; what comes
#     again has to be the same as before
#   - a row that is given is not there yet, one that is changed is; with REPLICA IDENTITY FULL it is as "before"
package Torture::Judge;
use v5.36;

use Digest::MD5 qw(md5);
use Encode qw(encode_utf8);

use CdcTest::Records qw(canonical);
use PgServer;
use Torture::Workload;

my $placeholder = '__debezium_unavailable_value';

sub new ($class, %opts) {
    my $self = bless {
        messages => 0, repeats => 0, %opts,
        rows => {}, at => [0, 0], whole => 1,          # the furthest place, and whether its transaction is whole
        place => undef, place_whole => 1, floor => 0,  # the same of this run; what was on record before it
        unsaid => 0, recent => [],
        transactions => 0, events => 0, said => 0, repeated => 0, repeated_transactions => 0,
    }, $class;
    for my $worker (@Torture::Workload::WORKERS) {
        my %row = (worker => $worker, n => 0, events => 1, said => 0);
        $self->{rows}{tally}{ Torture::Workload::row_key('tally', \%row) } = \%row;
    }
    return $self;
}

sub marked ($self) { return $self->{rows}{tally}{0}{n} }

sub begins ($self, $lsn) {
    $self->{floor} = $lsn;
    $self->{place} = undef;
    $self->{place_whole} = 1;
    $self->forget($lsn);
}

# What is on record must not come again, so it need not be remembered.
sub forget ($self, $lsn) {
    my $recent = $self->{recent};
    shift @$recent while @$recent && $recent->[0][0] < $lsn;
}

sub ends ($self) { $self->{place} = undef }

sub _fault ($self, $event, $what) {
    my $text = substr canonical($event->{record}), 0, 700;
    die sprintf "%s: %s\n  place %s, furthest %s (%s), run's %s, on record before the run %s\n  %s: %s\n", $self->{name}, $what,
        _place_text([@$event{qw(commit seq)}]), _place_text($self->{at}), $self->{whole} ? 'whole' : 'not whole',
        _place_text($self->{place}), PgServer::lsn_text($self->{floor}), $event->{where}, $text;
}

sub _place_text ($place) {
    return 'none' unless $place && defined $place->[0];
    return PgServer::lsn_text($place->[0]) . ' ' . ($place->[1] // 'outside');
}

sub _number ($lsn) { return defined $lsn && $lsn =~ m{/} ? PgServer::lsn_num($lsn) : $lsn }

# Both envelopes as one shape; undef for what is no event.
sub _event ($r, $where) {
    my $op = ref $r eq 'HASH' && $r->{op} // return;
    return unless $op =~ /\A[crudtm]\z/;
    my $s = $r->{source} // $r;
    my $own = $r->{source} ? $s->{lsn} : $r->{lsn};
    return { op => $op, table => $s->{table}, commit => _number($s->{commit_lsn}), seq => $s->{tx_seq} // $s->{seq}, lsn => _number($own),
        old => $r->{source} ? $r->{before} : $r->{old} // ($op eq 'd' ? $r->{key} : undef),
        new => $r->{source} ? $r->{after} : $r->{row}, record => $r, where => $where, written => $r->{source} && $r->{ts_ms} };
}

sub take ($self, $record, $where) {
    my $event = _event($record, $where) or return;
    $self->{written} = $event->{written} if defined $event->{written};
    # A message outside of transactions has the LSN behind it, where the record of a commit may begin that follows.
    @$event{qw(commit outside)} = ($event->{lsn} - 1, 1) if $event->{op} eq 'm' && !defined $event->{seq};
    $self->_fault($event, 'an event without its place') unless defined $event->{commit} && ($event->{outside} || defined $event->{seq});
    $self->_follow_run($event);
    return $self->_again($event) if $self->_is_again($event);
    $self->_follow($event);
    $self->{events}++;
    $self->{digest} = md5(($event->{outside} || $event->{seq} == 1 ? '' : $self->{digest}), _content($event)) if $self->{repeats};
    if ($event->{op} eq 'm') { $self->{said}++ }
    else                     { $self->_apply($event) }
    $self->_close($event);
}

# Within the run: one after the other.
sub _follow_run ($self, $event) {
    my $place = $self->{place};
    $self->_check_step($event, $place, $self->{place_whole}, 'of its run');
    $self->_fault($event, 'what the state file had on record comes again') if !$place && $event->{commit} < $self->{floor};
    $self->{place} = [@$event{qw(commit seq)}];
    $self->{place_whole} = $event->{outside} || _is_last($event);
}

sub _check_step ($self, $event, $place, $whole, $what) {
    if ($place && defined $place->[1] && $event->{commit} == $place->[0] && !$event->{outside}) {
        my $next = $place->[1] + 1;
        $self->_fault($event, "tx_seq is not $next, the next $what") if $event->{seq} != $next;
        return;
    }
    $self->_fault($event, "not behind the last event $what") if $place && $event->{commit} <= $place->[0];
    $self->_fault($event, "the transaction before, $what, is not whole") unless $whole;
    $self->_fault($event, 'a transaction does not begin with its first event') unless $event->{outside} || $event->{seq} == 1;
}

sub _is_last ($event) { return ($event->{table} // '') eq 'tally' && $event->{op} eq 'u' }

sub _is_again ($self, $event) {
    my ($commit, $seq) = @{ $self->{at} };
    return $event->{commit} < $commit || $event->{commit} == $commit && (!defined $seq || $event->{outside} || $event->{seq} <= $seq);
}

# What has come before, in a run before.
sub _again ($self, $event) {
    $self->_fault($event, 'an event comes twice') unless $self->{repeats};
    $self->{repeated}++;
    $self->{again} = md5(($event->{outside} || $event->{seq} == 1 ? '' : $self->{again}), _content($event));
    $self->{again_open} = !($event->{outside} || _is_last($event));
    return if $self->{again_open};
    $self->{repeated_transactions}++;
    my ($known) = grep { $_->[0] == $event->{commit} } @{ $self->{recent} };
    $self->_fault($event, 'a transaction comes again that had been on record') unless $known;
    $self->_fault($event, 'a transaction comes again and is not the same') if $known->[1] ne $self->{again};
}

# The furthest place: nothing may be left out behind it.
sub _follow ($self, $event) {
    my $at = $self->{at};
    # It was cut short by the end of the run before, and came again up to here.
    $self->_fault($event, 'the beginning of a transaction comes again and is not the same')
        if delete $self->{again_open} && !$event->{outside} && $event->{seq} > 1 && $self->{again} ne $self->{digest};
    $self->_check_step($event, $at->[0] ? $at : undef, $self->{whole}, 'of all');
    $self->{at} = [@$event{qw(commit seq)}];
    $self->{whole} = 0;
}

sub _content ($event) {
    my ($old, $new) = map { ref ? canonical($_) : '' } @$event{qw(old new)};
    return encode_utf8(join "\0", $event->{op}, $event->{table} // '', $old, $new);
}

# The last event of a transaction says how long it is.
sub _close ($self, $event) {
    return unless $event->{outside} || _is_last($event);
    $self->{whole} = 1;
    if (!$event->{outside}) {
        my $new = $event->{new};
        my $length = $new->{events} + ($self->{messages} ? $new->{said} : 0);
        $self->_fault($event, "the transaction has $length events") if $event->{seq} != $length;
        $self->{transactions}++;
    }
    push @{ $self->{recent} }, [$event->{commit}, $self->{digest}] if $self->{repeats};
}

# ---- the rows ----

sub _apply ($self, $event) {
    my ($op, $table, $old, $new) = @$event{qw(op table old new)};
    my $key = $Torture::Workload::KEY{ $table // '' } or $self->_fault($event, 'an unknown table');
    my $rows = $self->{rows}{$table} //= {};
    return %$rows = () if $op eq 't';
    my $was;
    if ($op =~ /[ud]/) {
        my $id = ref $old && !grep({ !defined $old->{$_} } @$key) ? $old : $new;
        $was = delete $rows->{ Torture::Workload::row_key($table, $id // {}) } or $self->_fault($event, 'a row that is not there is changed');
        $self->_check_full($event, $was) if $table eq 'page';
        $self->_fault($event, 'the count of transactions does not go up by one: it was ' . $was->{n})
            if $table eq 'tally' && $new->{n} != $was->{n} + 1;
    }
    return if $op eq 'd';
    $self->_fault($event, 'no new row') unless ref $new;
    for my $column (keys %$new) {
        $new->{$column} = $was->{$column} if $was && defined $new->{$column} && $new->{$column} eq $placeholder;
    }
    my $id = Torture::Workload::row_key($table, $new);
    $self->_fault($event, 'a row that is there already is given') if $rows->{$id};
    $rows->{$id} = $new;
}

sub _check_full ($self, $event, $was) {
    my ($is, $should) = map { Torture::Workload::row_text('page', $_ // {}) } $event->{old}, $was;
    $self->_fault($event, 'the old row is not as the row was, but: ' . substr $should, 0, 200) if $is ne $should;
}

# The rows against those of the tables: the first that differs.
sub compare ($self, $want) {
    for my $table (sort keys %Torture::Workload::KEY) {
        my ($have, $is) = ($self->{rows}{$table} // {}, $want->{$table} // {});
        for my $id (sort keys %{ { %$have, %$is } }) {
            my $text = $have->{$id} && Torture::Workload::row_text($table, $have->{$id});
            next if defined $text && defined $is->{$id} && $text eq $is->{$id};
            my ($model, $server) = map { defined ? '(' . substr(s/\x1f/, /gr =~ s/\x1d/NULL/gr, 0, 200) . ')' : 'no row' } $text, $is->{$id};
            die "$self->{name}: $table, key " . ($id =~ s/\0/, /gr) . ": the records make $model, the table has $server\n";
        }
    }
}

1;
