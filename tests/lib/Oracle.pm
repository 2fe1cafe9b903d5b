# Oracle - applies records to an empty model and compares it with the tables.
#
#   my $oracle = Oracle->new(keys => {'public.t' => ['id'], 'public.log' => []});
#   $oracle->apply($r->records);                 # more than once: run after run
#   $oracle->apply_file($path);                  # the same line by line, for much output
#   $oracle->faultless('no loss, no duplicate, in order');        # a test
#   $oracle->compare($pg, 'shop', 'public.t');                    # a test
#
# Takes records of the envelopes "debezium" and "plain", in the order of the output.  Others
# (transaction marks, schema events, heartbeats) go by; messages are counted.
#
# new(%opts):
#   keys             => {'schema.table' => [columns]}; [] = no identity: rows are counted whole,
#                       which needs REPLICA IDENTITY FULL for updates and deletes
#   allow_duplicates => 1   output that is at-least-once: a transaction may come again, from its
#                       first event or after having been cut short; and after resumes() a row of
#                       a snapshot; counted in duplicates()
#   again            => 1   besides: what comes again is applied again, as by a reader that keeps the last
#                       record of each row and takes no note of transactions
#   allow_gaps       => 1   tx_seq may leave numbers out (tables or operations not captured, events
#                       of rows that a snapshot is still to give)
#   relaxed          => ['schema.table', ...], or 1 for all: rows may be given twice, and events be
#                       for rows that were not given, or show them already; counted in relaxed()
#   placeholder      => text of an unchanged TOAST value that was not sent
#   history          => 1   remembers each event and the row that it found
#   reference        => $oracle   with history, which was given every change, as by another slot:
#                       then each event has to find the row as it was right before it.  That tells
#                       of a change left out between a row's being given and its next event, which
#                       nothing else does with allow_gaps.  A row with a value that was not sent is
#                       let pass: compare() tells whether that was all
#
# What it complains about, with the number of the record (of the line, with apply_file):
#   - a "c" or "r" for a key that exists, a "u" or "d" for one that does not, a "u" that changes the
#     key to one that exists: so no row is ever given twice, and no event is for a row never given
#   - an event (commit_lsn, tx_seq) that was seen before
#   - tx_seq that does not count 1, 2, 3, … within a transaction
#   - commit_lsn that goes back
#   - a row of a snapshot with an old row or a place in a transaction; one after the last one
#   - source.snapshot that does not fit the operation
#   - an event that the reference does not have, or for a row that is not as it was there
# Where commit_lsn is null, (txId, tx_seq) is taken, and nothing is said about the order.
#
#   ->problems   list of complaints      ->count('c')    applied records by operation
#   ->transactions                       ->count('c', 'public.t')    of one table
#   ->duplicates    records that came again              ->relaxed('public.t')
#   ->snapshots('last')    snapshot rows by source.snapshot
#   ->left_out           how many events of the reference did not come
#   ->rows('public.t')   the model       ->diff(...)     as compare(), as a list of differences
#
# Between the output of one run and that of the next:
#   ->resumes             with allow_duplicates: what a killed run wrote without its being accepted
#                         comes again.  Not seen: rows of a table without a key that come again.
#   ->forget('public.t')  a snapshot begins anew; without a table: of all tables
package Oracle;
use v5.36;

use Digest::MD5 qw(md5);
use Encode qw(encode_utf8);
use JSON::PP ();
use Test::More ();

use CdcTest::Records qw(canonical record);
use PgServer;

sub new ($class, %opts) {
    return bless {
        placeholder => '__debezium_unavailable_value',
        keys => {}, %opts,
        model => {}, problems => [], count => {}, by_table => {}, duplicates => 0, relaxations => {}, snapshots => {},
        seen => {},         # transaction -> {tx_seq -> seen}
        current => undef,   # transaction of the last event
        next_seq => 1, last_commit => 0,
        number => 0,        # of the record, or where it stands
        run => 1,           # counts up with resumes()
        found => {},        # history: transaction and tx_seq -> digest of the row, undef for none
    }, $class;
}

sub problems     ($self) { return @{ $self->{problems} } }
sub duplicates   ($self) { return $self->{duplicates} }
sub transactions ($self) { return scalar keys %{ $self->{seen} } }
sub count ($self, $op, $table = undef) {
    return (defined $table ? $self->{by_table}{$table}{$op} : $self->{count}{$op}) // 0;
}

sub snapshots ($self, $mark) { return $self->{snapshots}{$mark} // 0 }

sub left_out ($self) {
    return scalar grep { my ($tx, $seq) = split /,/; !$self->{seen}{$tx}{$seq} } keys %{ $self->{reference}{found} };
}

sub relaxed ($self, $table) { return $self->{relaxations}{$table} // 0 }

# {identity => row, ...}
sub rows ($self, $table) { return $self->{model}{$table}{rows} // {} }

sub apply ($self, @records) {
    $self->_apply_one($_, 'record ' . ++$self->{number}) for @records;
    return $self;
}

# torn => 1: without the torn last line that a kill leaves
sub apply_file ($self, $path, %opts) {
    open my $fh, '<:raw', $path or die "could not open \"$path\": $!\n";
    my $name = $path =~ s{.*/}{}r;
    while (defined(my $line = <$fh>)) {
        if (!chomp $line) {
            last if $opts{torn};
            die "$name: the last line has no newline: " . substr($line, -200) . "\n";
        }
        my $record = eval { record($line) };
        die "$name line $. is not JSON: $@" . substr($line, 0, 400) . "\n" if $@;
        $self->_apply_one($record, "$name line $.");
    }
    return $self;
}

sub _apply_one ($self, $record, $where) {
    my $event = _event($record) or return;
    @$event{qw(record where)} = ($record, $where);
    $self->_check_snapshot($event);
    return unless $self->_in_order($event);
    $self->{count}{ $event->{op} }++;
    return if $event->{op} eq 'm';
    $self->{by_table}{ $event->{table} }{ $event->{op} }++;
    $self->_apply_to_model($event);
}

sub resumes ($self) {
    $self->{run}++;
    @$self{qw(current last_commit)} = (undef, 0) if $self->{allow_duplicates};
    $self->{last_given} = 0;
    return $self;
}

sub forget ($self, @tables) {
    delete @{ $self->{model} }{ @tables ? @tables : keys %{ $self->{model} } };
    $self->{last_given} = 0;
    return $self;
}

# Both envelopes as one shape; undef for what is not a change.
sub _event ($r) {
    my $op = ref $r eq 'HASH' && $r->{op} // return;
    return unless $op =~ /\A[crudtm]\z/;
    if (my $s = $r->{source}) {
        return { op => $op, table => _table($s), commit => $s->{commit_lsn}, xid => $s->{txId},
                 seq => $s->{tx_seq}, old => $r->{before}, new => $r->{after}, snapshot => $s->{snapshot} };
    }
    return { op => $op, table => _table($r), xid => $r->{xid}, seq => $r->{seq},
             commit => defined $r->{commit_lsn} ? PgServer::lsn_num($r->{commit_lsn}) : undef,
             old => $r->{old} // ($op eq 'd' ? $r->{key} : undef), new => $r->{row} };
}

sub _table ($r) { return ($r->{schema} // '') . '.' . ($r->{table} // '') }

sub _complain ($self, $event, $what) {
    my $where = join ' ', map { "$_=" . ($event->{$_} // 'null') } qw(op table commit xid seq);
    # records of more than a few would fill the memory
    my $record = @{ $self->{problems} } < 50 ? ': ' . substr(_abridged($event->{record}), 0, 600) : '';
    push @{ $self->{problems} }, "$what ($where), $event->{where}$record";
}

# Without long values, and without the times and names of the source.
sub _abridged ($r) {
    my %r = %$r;
    delete @r{qw(ts_ms ts_us ts_ns)};
    $r{source} = { map { $_ => $r{source}{$_} } grep { exists $r{source}{$_} } qw(snapshot txId lsn commit_lsn tx_seq) }
        if $r{source};
    my $text = canonical(\%r);
    return $text =~ s/([^"]{40})[^"]{20,}/$1.../gr;
}

# ---- rows of a snapshot and other events ----

sub _check_snapshot ($self, $event) {
    my $mark = $event->{snapshot};
    if ($event->{op} ne 'r') {
        $self->_complain($event, "an event of the stream with snapshot \"$mark\"")
            if defined $mark && $mark ne 'false';
        return;
    }
    $self->_complain($event, 'a snapshot row with a place in a transaction')
        if grep { defined } @$event{qw(commit seq)}, defined $mark ? $event->{xid} : ();
    $self->_complain($event, 'a snapshot row with an old row') if defined $event->{old};
    return unless defined $mark;
    $self->_complain($event, "a snapshot row with snapshot \"$mark\"")
        unless $mark =~ /\A(?:true|last|incremental)\z/;
    $self->{snapshots}{$mark}++;
    $self->_complain($event, 'a snapshot row after the last one') if $mark ne 'incremental' && $self->{last_given};
    $self->{last_given} = 1 if $mark eq 'last';
}

# ---- order: true when the event is to be applied ----

sub _in_order ($self, $event) {
    return 1 if $event->{op} eq 'r';
    # A message outside of any transaction has no place in one.
    return 1 if $event->{op} eq 'm' && !defined $event->{seq};
    if (!defined $event->{seq} || !defined($event->{commit} // $event->{xid})) {
        $self->_complain($event, 'an event without its place');
        return 1;
    }
    my $tx = $event->{commit} // "xid $event->{xid}";
    $self->_begin($event, $tx) if !defined $self->{current} || $self->{current} ne $tx
        || $event->{seq} == 1 && $self->{next_seq} > 1;
    my $back = $event->{seq} < $self->{next_seq};
    $self->_check_seq($event);

    if ($self->{seen}{$tx}{ $event->{seq} }++) {
        $self->{duplicates}++;
        $self->_complain($event, 'an event seen twice') unless $self->{allow_duplicates};
        return $self->{again};
    }
    $self->_complain($event, 'tx_seq goes back') if $back;
    return 1;
}

sub _begin ($self, $event, $tx) {
    my $again = defined $self->{seen}{$tx};
    if (defined(my $commit = $event->{commit})) {
        $self->_complain($event, 'commit_lsn goes back')
            if $commit < $self->{last_commit} && !($again && $self->{allow_duplicates});
        $self->{last_commit} = $commit if $commit > $self->{last_commit};
    }
    @$self{qw(current next_seq)} = ($tx, 1);
}

sub _check_seq ($self, $event) {
    my ($seq, $next) = ($event->{seq}, $self->{next_seq});
    $self->_complain($event, "tx_seq is not $next")
        if $seq > $next && !$self->{allow_gaps} || $seq < 1;
    $self->{next_seq} = $seq + 1;
}

# ---- the model ----

sub _apply_to_model ($self, $event) {
    my ($op, $table) = @$event{qw(op table)};
    my $key = $self->{keys}{$table};
    return $self->_complain($event, "a table without a key in this oracle") unless $key;
    $self->_look_back($event) unless $op =~ /[ud]/ && @$key;
    if ($op eq 't') {
        delete $self->{model}{$table};
        return;
    }
    my $t = $self->{model}{$table} //= { rows => {}, count => {}, since => {} };
    my ($old, $new) = @$event{qw(old new)};
    return $self->_complain($event, 'no new row') if $op =~ /[cru]/ && ref $new ne 'HASH';
    my $since = $self->{run};
    if ($op =~ /[ud]/) {
        my $old_row = $self->_take($event, $t, $key, $old, $new, \$since);
        $self->_look_back($event, $old_row) if @$key;
        $old_row //= {};
        $new = {%$new} if $new;
        $self->_note_unsent($event, $new) if $op eq 'u';
        for my $column ($op eq 'u' ? keys %$new : ()) {
            $new->{$column} = $old_row->{$column}
                if defined $new->{$column} && !ref $new->{$column} && $new->{$column} eq $self->{placeholder};
        }
    }
    $self->_put($event, $t, $key, $new, $since) if $op ne 'd';
}

# A history remembers which updates came without some value.
sub _note_unsent ($self, $event, $new) {
    return unless $self->{history} && grep { defined && !ref && $_ eq $self->{placeholder} } values %$new;
    $self->{unsent}{ _place($event) } = 1;
}

sub _place ($event) { return ($event->{commit} // "xid $event->{xid}") . ",$event->{seq}" }

# Whether the row was given with a value that did not come with the change, but was looked up.
sub _is_filled ($self, $event) {
    return $self->{reference} && $event->{op} =~ /[cu]/ && defined $event->{seq} && $self->{reference}{unsent}{ _place($event) };
}

# The event and the row that it finds, as the history or against the reference.
sub _look_back ($self, $event, $row = undef) {
    return unless ($self->{history} || $self->{reference}) && $event->{op} ne 'r' && defined $event->{seq};
    my $place = _place($event);
    my $digest = $row ? md5(encode_utf8(canonical($row))) : undef;
    $self->{found}{$place} = $digest if $self->{history};
    my $reference = $self->{reference} or return;
    return $self->_complain($event, 'an event that the reference does not have') unless exists $reference->{found}{$place};
    my $there = $reference->{found}{$place};
    return if !defined $digest || !defined $there || $digest eq $there || $self->_relax($event);
    # A value that was not sent with the insert that a move became comes later, or is compared in the end.
    return if grep { defined && !ref && $_ eq $self->{placeholder} } values %$row;
    # And one that was looked up may be newer, or that of a row which has taken the key since.
    return if $event->{found_filled};
    $self->_complain($event, 'for a row that is not as it was before the event, but: ' . substr(canonical($row), 0, 300));
}

# True when the table may have such things; they are counted.
sub _relax ($self, $event) {
    my ($relaxed, $table) = ($self->{relaxed}, $event->{table});
    return 0 unless ref $relaxed ? grep { $_ eq $table } @$relaxed : $relaxed;
    return ++$self->{relaxations}{$table};
}

# Identity of a row, undef when it lacks a column of the key.
sub _identity ($key, $row) {
    return undef unless ref $row eq 'HASH';
    return canonical($row) unless @$key;
    return undef if grep { !defined $row->{$_} } @$key;
    return join "\0", map { ref $_ ? canonical($_) : "$_" } @$row{@$key};
}

# Removes and returns the old row of an update or a delete; tells the run that gave it.
sub _take ($self, $event, $t, $key, $old, $new, $since) {
    my $id = _identity($key, $old) // _identity($key, $new);
    if (!defined $id || !$t->{rows}{$id}) {
        $self->_complain($event, 'for a key that does not exist: ' . _show($id)) unless $self->_relax($event);
        return undef;
    }
    my $row = $t->{rows}{$id};
    $$since = $t->{since}{$id};
    $event->{found_filled} = delete $t->{filled}{$id};
    if (@$key || --$t->{count}{$id} == 0) {
        delete $t->{$_}{$id} for qw(rows since);
    }
    return $row;
}

sub _put ($self, $event, $t, $key, $new, $since) {
    my $id = _identity($key, $new);
    return $self->_complain($event, 'a row without its key') unless defined $id;
    if (@$key == 0) { $t->{count}{$id}++ }
    elsif ($t->{rows}{$id}) {
        if ($event->{op} eq 'r' && $self->{allow_duplicates} && $t->{since}{$id} < $self->{run}) {
            $self->{duplicates}++;
        } elsif (!$self->_relax($event)) {
            $self->_complain($event, 'for a key that exists: ' . _show($id));
        }
    }
    $t->{rows}{$id} = $new;
    $t->{since}{$id} = $since;
    $t->{filled}{$id} = $self->_is_filled($event);
}

sub _show ($id) { return defined $id ? substr($id =~ s/\0/, /gr, 0, 200) : 'none was sent' }

# ---- comparison with the server ----

# How the server is asked for a column so that the answer can be held against a record's value,
# without taking cdcdump's word for any formatting.  Only simple types are compared unless the
# caller names columns.  [how to compare, SQL]
my %types = (
    (map { $_ => [text => '%s::text'] } qw(int2 int4 int8 oid numeric text varchar name uuid date citext)),
    bpchar => [text => q{format('%%s', %s)}],
    bool   => [bool => '%s::text'],
    float4 => [number => '%s::text'], float8 => [number => '%s::text'],
    json   => [json => '%s::text'], jsonb => [json => '%s::text'],
);
my %more_types = (
    (map { $_ => [json => 'to_json(%s)::text'] } qw(_int2 _int4 _int8 _text _varchar)),
    bytea       => [text => q{translate(encode(%s, 'base64'), E'\n', '')}],
    timestamp   => [text => q{replace(%s::text, ' ', 'T')}],
    timestamptz => [text => q{replace((%s AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'}],
);

# Differences between the model and the table as lines of text, none when they agree.
#   columns => ['a', 'b']   just these, of any type; ones of no known type as their text
#   columns => 'all'        all whose type is known above
sub diff ($self, $pg, $db, $table, %opts) {
    my $key = $self->{keys}{$table} or return "the oracle knows no key of $table";
    my @columns = _columns($pg, $db, $table, $opts{columns}, $key);
    my (%have, %want, @diff);
    my $t = $self->{model}{$table} // { rows => {} };
    for my $id (keys %{ $t->{rows} }) {
        my $row = $t->{rows}{$id};
        my @values = map { _of_record($_, $row->{ $_->{name} }) } @columns;
        $have{ _row_key($key, \@columns, \@values) }{ canonical(\@values) } += @$key ? 1 : $t->{count}{$id};
    }
    for my $row (@{ _table_rows($pg, $db, $table, @columns) }) {
        my @values = map { _of_server($columns[$_], $row->[$_]) } 0 .. $#columns;
        $want{ _row_key($key, \@columns, \@values) }{ canonical(\@values) }++;
    }
    for my $id (sort keys %{ { %have, %want } }) {
        my $in_model = _multiset($have{$id});
        my $in_table = _multiset($want{$id});
        next if $in_model eq $in_table;
        push @diff, "$table: model " . ($in_model || 'has no row') . ', table ' . ($in_table || 'has no row');
    }
    return @diff;
}

sub _row_key ($key, $columns, $values) {
    return canonical($values) unless @$key;
    my %value = map { $columns->[$_]{name} => $values->[$_] } 0 .. $#$columns;
    return join "\0", map { $_ // '' } @value{@$key};
}

sub _multiset ($rows) {
    return join ' ', map { $rows->{$_} > 1 ? "$rows->{$_} x $_" : $_ } sort keys %{ $rows // {} };
}

sub _columns ($pg, $db, $table, $wanted, $key) {
    my $regclass = join '.', map { '"' . s/"/""/gr . '"' } split /\./, $table, 2;
    my $all = $pg->query($db, "
        SELECT a.attname, b.typname
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
             JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
        WHERE a.attrelid = '$regclass'::regclass AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum");
    my %of_key = map { $_ => 1 } @$key;
    my %named = ref $wanted ? map { $_ => 1 } @$wanted : ();
    my @columns;
    for my $c (@$all) {
        my ($name, $type) = @$c;
        my $how = $types{$type};
        $how //= $more_types{$type} if $wanted;
        if (ref $wanted) {
            next unless $named{$name} || $of_key{$name};
            $how //= [text => q{format('%%s', %s)}];
        }
        $how //= [text => '%s::text'] if $of_key{$name};
        next unless $how;
        my $expression = sprintf $how->[1], '"' . ($name =~ s/"/""/gr) . '"';
        # format() makes NULL an empty string.
        push @columns, { name => $name, how => $how->[0],
                         sql => "CASE WHEN \"$name\" IS NOT NULL THEN $expression END" };
    }
    die "$table: no column to compare\n" unless @columns;
    return @columns;
}

sub _table_rows ($pg, $db, $table, @columns) {
    my $from = join '.', map { '"' . s/"/""/gr . '"' } split /\./, $table, 2;
    return $pg->query($db, "SET datestyle = ISO; SET extra_float_digits = 1;\nSELECT "
        . join(', ', map { $_->{sql} } @columns) . " FROM $from");
}

# Both sides as plain text, equal where the values are.
sub _of_record ($column, $value) {
    return undef unless defined $value;
    return canonical($value) if $column->{how} eq 'json';
    return $value ? 'true' : 'false' if $column->{how} eq 'bool';
    return _number($value) if $column->{how} eq 'number';
    return ref $value ? canonical($value) : "$value";
}

sub _of_server ($column, $text) {
    return undef unless defined $text;
    return canonical(JSON::PP->new->allow_nonref->decode($text)) if $column->{how} eq 'json';
    return _number($text) if $column->{how} eq 'number';
    return $text;
}

sub _number ($v) { return $v =~ /\A[-+0-9.eE]+\z/ ? sprintf '%.17g', $v : "$v" }

# ---- as tests ----

sub _test ($name, @differences) {
    local $Test::Builder::Level = $Test::Builder::Level + 2;
    my $ok = Test::More::ok(!@differences, $name);
    return $ok if $ok;
    my $more = @differences - 20;
    Test::More::diag(map { "  $_\n" } @differences > 20 ? @differences[0 .. 19] : @differences);
    Test::More::diag("  and $more more") if $more > 0;
    return $ok;
}

sub faultless ($self, $name = 'the records are in order, none is missing or doubled') {
    return _test($name, $self->problems);
}

# compare($pg, $db, 'public.t', name => '…', columns => …)
sub compare ($self, $pg, $db, $table, %opts) {
    return _test($opts{name} // "the records make up $table", $self->diff($pg, $db, $table, %opts));
}

1;
