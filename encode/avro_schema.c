#include "encode/avro_schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "encode/avro_name.h"
#include "encode/avro_value.h"
#include "encode/scan.h"

#define SOURCE "cdcdump.Source"

/* ---- pieces of JSON ---- */

static cJSON *checked(cJSON *json)
{
    if (!json)
        log_out_of_memory();
    return json;
}

static cJSON *new_text(const char *text)
{
    return checked(cJSON_CreateString(text));
}

static void set(cJSON *object, const char *name, cJSON *value)
{
    if (!cJSON_AddItemToObject(object, name, value))
        log_out_of_memory();
}

static void append(cJSON *array, cJSON *value)
{
    if (!cJSON_AddItemToArray(array, value))
        log_out_of_memory();
}

/* A name from the catalogs need not be UTF-8: then it loses what is not ASCII to "?". */
static void set_name(cJSON *object, const char *name, const char *text)
{
    size_t len = strlen(text);
    char *copy = xstrndup(text, len);

    if (!scan_is_utf8(copy, len))
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)copy[i] >= 0x80)
                copy[i] = '?';
    set(object, name, new_text(copy));
    free(copy);
}

static cJSON *nullable(cJSON *type)
{
    cJSON *both = checked(cJSON_CreateArray());

    append(both, new_text("null"));
    append(both, type);
    return both;
}

static cJSON *logical(const char *type, const char *name)
{
    cJSON *json = checked(cJSON_CreateObject());

    set(json, "type", new_text(type));
    set(json, "logicalType", new_text(name));
    return json;
}

static cJSON *names_of_columns(void)
{
    cJSON *json = checked(cJSON_CreateObject());

    set(json, "type", new_text("array"));
    set(json, "items", new_text("string"));
    return json;
}

/* ---- records ---- */

static cJSON *new_record(const char *name, const char *namespace)
{
    cJSON *record = checked(cJSON_CreateObject());

    set(record, "type", new_text("record"));
    set(record, "name", new_text(name));
    set(record, "namespace", new_text(namespace));
    return record;
}

static cJSON *add_field(cJSON *fields, const char *name, cJSON *type)
{
    cJSON *field = checked(cJSON_CreateObject());

    set(field, "name", new_text(name));
    set(field, "type", type);
    append(fields, field);
    return field;
}

static void add_nullable(cJSON *fields, const char *name, cJSON *type)
{
    set(add_field(fields, name, nullable(type)), "default", checked(cJSON_CreateNull()));
}

static void add_column(cJSON *fields, const struct layout *l, const struct layout_column *c)
{
    const char *original = l->relation->columns[c->index].name;
    struct buf name;
    cJSON *field;

    buf_init(&name, 64);
    avro_add_name(&name, original);
    buf_add_char(&name, '\0');
    field = add_field(fields, name.data, avro_value_union(&c->rule));
    set(field, "default", checked(cJSON_CreateNull()));
    set_name(field, "pg.name", original);
    if (c->key)
        set(field, "pg.key", checked(cJSON_CreateTrue()));
    buf_release(&name);
}

static cJSON *new_row(const char *name, const char *namespace, const struct layout *l,
                      enum row_part part)
{
    cJSON *record = new_record(name, namespace);
    cJSON *fields = checked(cJSON_CreateArray());

    for (uint16_t i = 0; i < l->ncolumns; i++)
        if (part == ROW_ALL || l->columns[i].key)
            add_column(fields, l, &l->columns[i]);
    set(record, "fields", fields);
    return record;
}

static cJSON *new_source(void)
{
    cJSON *record = new_record("Source", "cdcdump");
    cJSON *fields = checked(cJSON_CreateArray());

    add_field(fields, "version", new_text("string"));
    add_field(fields, "connector", new_text("string"));
    add_field(fields, "name", new_text("string"));
    add_nullable(fields, "ts_ms", new_text("long"));
    add_field(fields, "snapshot", new_text("string"));
    add_field(fields, "db", new_text("string"));
    add_nullable(fields, "sequence", new_text("string"));
    add_nullable(fields, "ts_us", new_text("long"));
    add_nullable(fields, "ts_ns", new_text("long"));
    add_field(fields, "schema", new_text("string"));
    add_field(fields, "table", new_text("string"));
    add_nullable(fields, "txId", new_text("long"));
    add_nullable(fields, "lsn", new_text("long"));
    add_nullable(fields, "xmin", new_text("long"));
    add_nullable(fields, "commit_lsn", new_text("long"));
    add_nullable(fields, "tx_seq", new_text("long"));
    set(record, "fields", fields);
    return record;
}

/* ---- envelopes ---- */

static void add_debezium(cJSON *fields, const char *namespace, const struct layout *l)
{
    add_nullable(fields, "before", new_row("Value", namespace, l, ROW_ALL));
    add_nullable(fields, "after", new_text("Value"));
    add_field(fields, "source", new_text(SOURCE));
    add_field(fields, "op", new_text("string"));
    add_field(fields, "ts_ms", new_text("long"));
    add_field(fields, "ts_us", new_text("long"));
    add_field(fields, "ts_ns", new_text("long"));
    add_nullable(fields, "before_unsent", names_of_columns());
    add_nullable(fields, "after_unsent", names_of_columns());
}

static void add_flink(cJSON *fields, const char *namespace, const struct layout *l)
{
    add_field(fields, "row_kind", new_text("string"));
    add_field(fields, "table_name", new_text("string"));
    add_field(fields, "schema_name", new_text("string"));
    add_field(fields, "database_name", new_text("string"));
    add_nullable(fields, "op_ts", logical("long", "timestamp-millis"));
    add_field(fields, "row", new_row("Value", namespace, l, ROW_ALL));
    add_nullable(fields, "row_unsent", names_of_columns());
}

static void add_plain(cJSON *fields, const char *namespace, const struct layout *l)
{
    add_field(fields, "op", new_text("string"));
    add_nullable(fields, "lsn", new_text("string"));
    add_nullable(fields, "commit_lsn", new_text("string"));
    add_nullable(fields, "seq", new_text("long"));
    add_nullable(fields, "xid", new_text("long"));
    add_nullable(fields, "ts", logical("long", "timestamp-micros"));
    add_field(fields, "schema", new_text("string"));
    add_field(fields, "table", new_text("string"));
    add_nullable(fields, "key", new_row("Key", namespace, l, ROW_KEY));
    add_nullable(fields, "row", new_row("Value", namespace, l, ROW_ALL));
    add_nullable(fields, "old", new_text("Value"));
    add_nullable(fields, "row_unsent", names_of_columns());
    add_nullable(fields, "old_unsent", names_of_columns());
}

static void add_namespace(struct buf *b, const char *server, const struct relation *r,
                          unsigned number)
{
    avro_add_name(b, server);
    buf_add_char(b, '.');
    avro_add_name(b, r->schema);
    buf_add_char(b, '.');
    avro_add_name(b, r->name);
    if (number > 1)
        buf_printf(b, ".v%u", number);
    buf_add_char(b, '\0');
}

cJSON *avro_envelope(const struct options *o, const char *server, const struct layout *l,
                     unsigned number)
{
    struct buf namespace;
    cJSON *record, *fields = checked(cJSON_CreateArray());

    buf_init(&namespace, 128);
    add_namespace(&namespace, server, l->relation, number);
    record = new_record("Envelope", namespace.data);
    set_name(record, "pg.schema", l->relation->schema);
    set_name(record, "pg.table", l->relation->name);
    if (o->envelope == ENVELOPE_FLINK)
        add_flink(fields, namespace.data, l);
    else if (o->envelope == ENVELOPE_PLAIN)
        add_plain(fields, namespace.data, l);
    else
        add_debezium(fields, namespace.data, l);
    set(record, "fields", fields);
    buf_release(&namespace);
    return record;
}

/* ---- several in one ---- */

static cJSON *source_field(const cJSON *envelope)
{
    cJSON *field;

    cJSON_ArrayForEach(field, cJSON_GetObjectItemCaseSensitive(envelope, "fields"))
    {
        const char *name =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(field, "name"));

        if (name && strcmp(name, "source") == 0)
            return field;
    }
    return NULL;
}

static void set_source(cJSON *envelope, cJSON *type)
{
    cJSON *field = source_field(envelope);

    if (!field || !cJSON_ReplaceItemInObjectCaseSensitive(field, "type", type))
        cJSON_Delete(type);
}

cJSON *avro_join(const cJSON *const *envelopes, unsigned n, bool together)
{
    cJSON *all = checked(cJSON_CreateArray());

    for (unsigned i = 0; i < n; i++) {
        cJSON *copy = checked(cJSON_Duplicate(envelopes[i], true));

        if (i == 0)
            set_source(copy, new_source());
        append(all, copy);
    }
    if (!together) {
        cJSON *only = cJSON_DetachItemFromArray(all, 0);

        cJSON_Delete(all);
        return only;
    }
    return all;
}

static bool is_envelope(const cJSON *json)
{
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "name"));

    return name && strcmp(name, "Envelope") == 0 &&
           cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "fields"));
}

cJSON *avro_part(const char *schema, size_t len, bool *together)
{
    cJSON *json = cJSON_ParseWithLength(schema, len);
    cJSON *all = json, *one;
    bool good = true;

    *together = cJSON_IsArray(json);
    if (!json)
        return NULL;
    if (!*together) {
        all = checked(cJSON_CreateArray());
        append(all, json);
    }
    cJSON_ArrayForEach(one, all)
        good &= is_envelope(one);
    if (good && cJSON_GetArraySize(all) > 0) {
        if (cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(source_field(all->child), "type")))
            set_source(all->child, new_text(SOURCE));
        return all;
    }
    cJSON_Delete(all);
    return NULL;
}
