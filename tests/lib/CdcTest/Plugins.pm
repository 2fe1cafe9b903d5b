# CdcTest::Plugins - the same changes through every decoding plugin, and how their records differ.
#
#   my $slots = CdcTest::Plugins->new(server => $pg, db => 'shop', name => 'all');
#   $slots->create;                       # a slot for each plugin, and a publication of all tables
#   $pg->sql('shop', '…');
#   my $runs = $slots->run('-e', 'plain');        # {plugin => Cdc::Result}, each from its slot
#   CdcTest::Plugins::compare('all', $runs, \@known);
#   …
#   CdcTest::Plugins::all_occur(\@known);         # a test for each entry
#
# $runs may have other names as well, such as one for an older version of a plugin.
#
# Slots are named NAME_PLUGIN, the publication is NAME.  To read the same changes more than once, say
# $slots->copy('again') before they are read: the same kind of object, with slots of its own.  Plugins
# that the server does not have are left out: $slots->missing says why, by library.  new() also takes
# env => [...], more options of Cdc->start for each run.
#
# Records are compared field by field with those of pgoutput.  A field is a member of the record, as
# the text that stands there, so that 1, 1.0 and "1" are three values; of the objects row, old, key,
# before, after and source the members are fields in their turn (row.name), with their order as a
# field of its own (row{}), and so is the key in front (-K).  Records belong together that have the
# same operation, transaction and LSN (where the plugin tells LSNs), in their order; one that the
# plugin lacks differs in the field "missing", one that it has too many in the field "extra".  Times of
# writing are passed over.  No column may be called commit_lsn, ts or the like: see $often below.
#
# What is known to differ is a list of
#
#   { plugins => [...], field => qr/.../, reason => '...', …}
#
# with, where need be, run => qr/.../ (the name that compare() was given), op, table (schema.table),
# expected and got likewise, or undef for what is not there, and when => sub ($d) {...} for what these
# cannot say.  $d has all of those and plugin, next (the operation of pgoutput's next record), lacking
# (how many records of the transaction the plugin has left out before this one) and ops (what the
# transaction is made of, as pgoutput tells it: {c => 2, t => 1}).  The first entry that fits a
# difference counts.  An entry has to occur with each of its plugins that has been compared.
package CdcTest::Plugins;
use v5.36;

use Encode qw(decode_utf8);
use File::Temp ();
use List::Util qw(first);
use Test::More ();

use Cdc;

our @STREAMING = qw(wal2json_streaming wal2json_rds_streaming);
our @WAL2JSON = (qw(wal2json wal2json_rds), @STREAMING);
our @OTHERS = (@WAL2JSON, qw(decoderbufs test_decoding));
our @NAMES = ('pgoutput', @OTHERS);
our $REPORTED = 20;    # differences in a report

sub library_of ($plugin) { return $plugin =~ /\Awal2json/ ? 'wal2json' : $plugin }

# ---- slots and runs ----

sub new ($class, %how) {
    return bless { missing => {}, dir => File::Temp->newdir('cdctest-XXXXXX', TMPDIR => 1), %how }, $class;
}

sub plugins ($self) { return grep { !$self->{missing}{ library_of($_) } } @NAMES }
sub missing ($self) { return $self->{missing} }
sub slot_of ($self, $plugin) { return "$self->{name}_$plugin" }

sub create ($self) {
    my ($pg, $db) = @$self{qw(server db)};
    for my $library (qw(wal2json decoderbufs test_decoding)) {
        my ($status, undef, $err) = $pg->try_sql($db,
            "SELECT pg_create_logical_replication_slot('probe', '$library', true)");
        next unless $status;
        die $err unless $err =~ /could not access file "$library": (.*)/;
        $self->{missing}{$library} = "$library: $1";
    }
    my $root = $pg->version >= 13 ? 'WITH (publish_via_partition_root = true)' : '';
    $pg->sql($db, "CREATE PUBLICATION $self->{name} FOR ALL TABLES $root;" . join '', map {
        "SELECT pg_create_logical_replication_slot('" . $self->slot_of($_) . "', '" . library_of($_) . "');"
    } $self->plugins);
    $self->{publication} = $self->{name};
    return $self;
}

sub copy ($self, $name) {
    my $copy = (ref $self)->new(%$self{qw(server db publication missing env)}, name => $name);
    $self->{server}->sql($self->{db}, join '', map {
        "SELECT pg_copy_logical_replication_slot('" . $self->slot_of($_) . "', '" . $copy->slot_of($_) . "');"
    } $self->plugins);
    return $copy;
}

# decoderbufs has no messages, and says so.
sub args_of ($self, $plugin, @args) {
    @args = grep { $_ ne '--messages' } @args if $plugin eq 'decoderbufs';
    my @publication = (qw(--publication-mode=existing --publication), $self->{publication});
    return ['-S', $self->slot_of($plugin), '-P', $plugin, qw(-m never), $plugin eq 'pgoutput' ? @publication : (), @args];
}

# Starts cdcdump on the plugin's slot; %how as for Cdc->start.
sub start ($self, $plugin, $args, %how) {
    return Cdc->start(%$self{qw(server db)}, args => $self->args_of($plugin, @$args), %how);
}

# Reads all slots up to now, side by side; a test of the exit status of each.
sub run ($self, @args) {
    my %run = map {
        ($_ => $self->start($_, ['-E', 'now', @args], stdout => ">$self->{dir}/$_", @{ $self->{env} // [] }))
    } $self->plugins;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %result;
    for my $plugin ($self->plugins) {
        $result{$plugin} = $run{$plugin}->wait;
        $result{$plugin}->exited(0, "$self->{name}: $plugin is read");
    }
    return \%result;
}

# ---- records as fields ----

my $json = qr/(?<value>"(?:[^"\\]++|\\.)*+"|[\[{](?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+"|(?&value))*+[\]}]|[^,"\[\]{}]++)/s;

# Name and value of each member of an object, as text.
sub members ($text) {
    my @members;
    my $end = length($text) - 1;
    pos($text) = 1;
    while (pos($text) < $end) {
        $text =~ /\G("(?:[^"\\]++|\\.)*+"):$json,?/gc or die 'not an object: ' . substr($text, 0, 400) . "\n";
        push @members, [$1, $+{value}];
    }
    return @members;
}

sub fields ($line) {
    my %fields;
    ($fields{-K}, $line) = ($1, $2) if $line =~ /\A([^\t]*)\t(.*)\z/s;
    my @members = $line eq '' ? () : members($line);
    for (@members) {
        my ($name, $value) = (substr($_->[0], 1, -1), $_->[1]);
        if ($name =~ /\A(?:row|old|key|before|after|source)\z/ && $value =~ /\A\{/) {
            my @inner = members($value);
            $fields{"$name\{}"} = join ',', map { $_->[0] } @inner;
            $fields{"$name." . substr $_->[0], 1, -1} = $_->[1] for @inner;
        } else {
            $fields{$name} = $value;
        }
    }
    $fields{'{}'} = join ',', map { $_->[0] } @members;
    return \%fields;
}

# What belongs to the writing of a record rather than to the change.
sub without_writing_times ($line) {
    $line =~ s/,"ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+//;
    $line =~ s/"ts_[mun]s":\K\d+/0/g if $line =~ /"txId":null/;
    return $line;
}

# The first member of that name in a line, without quotes.
my %member = map { ($_ => qr/"$_":"?((?:[^"\\,}]|\\.)*+)/) } qw(op status table schema xid txId id lsn);
sub member ($line, $name) { return $line =~ $member{$name} ? $1 : '' }

# Operation, table and transaction of a record, and what it has in common with the one of another plugin:
# BEGIN, END and what tells of columns have no LSN that all plugins tell.
sub record_of ($line) {
    my $op = member($line, 'op') || member($line, 'status') || ($line =~ /"tableChanges":/ ? 'schema' : 'other');
    my $table = member($line, 'table');
    $table = member($line, 'schema') . '.' . $table if $table ne '';
    my $xid = member($line, 'xid') || member($line, 'txId');
    ($xid) = member($line, 'id') =~ /\A(\d+)/ if $op =~ /\A(?:BEGIN|END)\z/;
    my $what = $op eq 'schema' ? $table : $op =~ /\A(?:begin|end)\z/i ? '' : member($line, 'lsn');
    return { line => $line, op => $op, table => $table, xid => $xid, signature => "$op $xid $what" };
}

sub records_of ($run) { return [map { record_of(without_writing_times($_)) } split /\n/, decode_utf8($run->out)] }

# Pairs [expected, got] in their order, where one of the two may be undef.
sub align ($expected, $got) {
    my ($i, $j, @pairs) = (0, 0);
    if (grep { length $_->{op} == 1 && $_->{line} =~ /"lsn":null/ } @$got) {
        $_ = [map { { %$_, $_->{op} eq 'schema' ? () : (signature => "$_->{op} $_->{xid}") } } @$_] for $expected, $got;
    }
    while ($i < @$expected || $j < @$got) {
        my ($e, $g) = ($expected->[$i], $got->[$j]);
        if ($e && $g && $e->{signature} eq $g->{signature}) {
            push @pairs, [$e, $g];
            $i++; $j++;
            next;
        }
        my $lacking = $g ? _ahead($g, $expected, $i) : 0;
        my $too_many = $e ? _ahead($e, $got, $j) : 0;
        if (!$g || ($e && $lacking <= $too_many)) { push @pairs, [$e, undef]; $i++ }
        else                                      { push @pairs, [undef, $g]; $j++ }
    }
    return @pairs;
}

# Of tables' columns is told when they are met with: where that is later with one plugin, the two belong
# together all the same.
sub join_schemas (@pairs) {
    my (%missing, %drop);
    for my $i (0 .. $#pairs) {
        my ($e, $g) = @{ $pairs[$i] };
        next unless ($e // $g)->{op} eq 'schema' && !($e && $g);
        if ($e) { push @{ $missing{ $e->{table} } }, $i; next }
        my $earlier = shift @{ $missing{ $g->{table} } // [] } // next;
        $pairs[$i][0] = $pairs[$earlier][0];
        $drop{$earlier} = 1;
    }
    return @pairs[grep { !$drop{$_} } 0 .. $#pairs];
}

# How far on in the other list a record comes.
sub _ahead ($wanted, $list, $from) {
    my $far = 1000;
    for my $n (1 .. $far) {
        my $record = $list->[$from + $n] // last;
        return $n if $record->{signature} eq $wanted->{signature};
    }
    return $far;
}

# ---- differences ----

sub fits ($entry, $d) {
    for my $part (qw(field run op table expected got)) {
        next unless exists $entry->{$part};
        my ($want, $is) = ($entry->{$part}, $d->{$part});
        return 0 if defined $want != defined $is || (defined $want && $is !~ $want);
    }
    return !$entry->{when} || $entry->{when}->($d);
}

# Members in which records of some plugins differ nearly always: a pair that differs in these alone
# need not be taken apart.
my $often = qr/"(commit_lsn|ts|seq|tx_seq|ts_ms|ts_us|ts_ns|sequence)":("(?:[^"\\]|\\.)*+"|[^,}]*+)/;

sub differences ($expected, $got) {
    my ($eline, $gline) = ($expected->{line}, $got->{line});
    return () if $eline eq $gline;
    my (%e, %g);
    $eline =~ s/$often/$e{$1} = $2; $1/ge;
    $gline =~ s/$often/$g{$1} = $2; $1/ge;
    my ($e, $g, $prefix) = (\%e, \%g, $eline =~ /"source":\{/ ? 'source.' : '');
    ($e, $g, $prefix) = (fields($expected->{line}), fields($got->{line}), '') if $eline ne $gline;
    return map { { field => "$prefix$_", expected => $e->{$_}, got => $g->{$_} } }
        grep { !(defined $e->{$_} && defined $g->{$_} && $e->{$_} eq $g->{$_}) } sort keys %{ { %$e, %$g } };
}

sub _short ($text) { return !defined $text ? 'nothing' : length $text > 300 ? substr($text, 0, 300) . '…' : $text }

# Differences of the same field of a table are told once, with the first as an example.
sub report (@differences) {
    my (%of, @order);
    for my $d (@differences) {
        my $what = join ' ', $d->{op}, $d->{table}, $d->{field};
        push @order, $what unless $of{$what};
        push @{ $of{$what} }, $d;
    }
    for my $what (splice @order, 0, $REPORTED) {
        my %plugins = map { ($_->{plugin} => 1) } @{ $of{$what} };
        my $d = $of{$what}[0];
        Test::More::diag("$what, " . @{ $of{$what} } . " times: @{[sort keys %plugins]}\n  pgoutput: " . _short($d->{expected})
            . "\n  $d->{plugin}: " . _short($d->{got}) . "\n  in: " . _short($d->{line}));
    }
    Test::More::diag('and ' . @order . ' more') if @order;
}

my %compared;

# A test for each plugin: no difference but known ones; and one that there is something to compare.
sub compare ($run, $runs, $known) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $expected = records_of($runs->{pgoutput});
    Test::More::ok(scalar @$expected, "$run: pgoutput gives records");
    $expected->[$_]{next} = $expected->[$_ + 1]{op} for 0 .. $#$expected - 1;
    my %ops;
    $ops{ $_->{xid} }{ $_->{op} }++ for grep { length $_->{op} == 1 } @$expected;
    my @unknown;
    for my $plugin (grep { $_ ne 'pgoutput' } sort keys %$runs) {
        $compared{$plugin} = 1;
        my @concerned = grep { my $entry = $_; grep { $_ eq $plugin } @{ $entry->{plugins} } } @$known;
        my (@mine, %lacking);
        for my $pair (join_schemas(align($expected, records_of($runs->{$plugin})))) {
            my ($e, $g) = @$pair;
            my $one = $e // $g;
            my @found = !$g ? { field => 'missing', expected => $e->{line}, got => undef }
                      : !$e ? { field => 'extra', expected => undef, got => $g->{line} }
                      :       differences($e, $g);
            for my $d (@found) {
                %$d = (%$d, plugin => $plugin, run => $run, %$one{qw(line op table xid next)}, ops => $ops{ $one->{xid} } // {},
                    lacking => $lacking{ $one->{xid} } // 0);
                my $entry = first { fits($_, $d) } @concerned;
                if ($entry) { $entry->{met}{$plugin}++ }
                else        { push @mine, $d }
            }
            $lacking{ $one->{xid} }++ if !$g;
        }
        Test::More::ok(!@mine, "$run: $plugin gives what pgoutput gives");
        push @unknown, @mine;
    }
    report(@unknown);
}

# A test for each entry: what a plugin has learnt to tell is to be taken off the list.
sub all_occur ($known) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $entry (@$known) {
        my @never = grep { $compared{$_} && !$entry->{met}{$_} } @{ $entry->{plugins} };
        Test::More::ok(!@never, "still so: $entry->{reason}") or Test::More::diag("not with @never");
    }
}

1;
