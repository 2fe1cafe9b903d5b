/*
 * transport - a way by which changes come from a server; see source/stream.h for what each
 * function has to do.  And what transports have in common: what errors and notices mean there.
 */
#ifndef SOURCE_TRANSPORT_H
#define SOURCE_TRANSPORT_H

#include "source/stream.h"

struct transport {
    bool (*read)(struct stream *s);
    enum stream_step (*next)(struct stream *s, struct stream_message *m, enum outcome *outcome);
    bool (*feedback)(struct stream *s, lsn_t flushed, bool ask_reply);
    nfds_t (*watch)(const struct stream *s, struct pollfd *fds);
    usec_t (*due)(const struct stream *s); /* NULL = never */
    void (*finish)(struct stream *s);      /* stream_close() follows */
    void (*close)(struct stream *s);       /* frees s->way */
};

/* What the plugin warns of on that connection is dealt with from now on. */
void stream_take_notices(struct stream *s, PGconn *conn);

/*
 * Logs the error with what is known of its cause, and returns its class, which is not always that of
 * the same SQLSTATE elsewhere.  doing: as in server_error().
 */
enum outcome stream_error(struct stream *s, const PGconn *conn, const PGresult *result,
                          const char *doing);

#endif
