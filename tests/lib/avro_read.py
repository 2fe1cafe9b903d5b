"""avro_read.py [--avrocat] FILE - records of an Avro container file, as lines of JSON.

They are read by python3-avro.

Values are texts that lose nothing: int and long in decimal, float and double in the shortest form
that is the same number, decimals with all digits of their scale, bytes in hexadecimal, dates and
times as ISO 8601 (24:00:00 and years that Python does not have are worked out here).  Unions are
the value in them; a record in a union that is the file's schema has its full name as "_type".

--avrocat: bytes end before the first that is zero, decimals are such bytes, and a zero has no sign,
as avrocat has them.

What is no whole file ends it with a message and status 1, after the records that precede that.
"""
import datetime
import decimal
import json
import math
import struct
import sys
import warnings

import avro.datafile
import avro.io

DAY = 86400 * 10**6


def number(value, digits, form):
    """The shortest of %g that is the same number; form is that of its bits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    for precision in range(1, digits):
        text = f"%.{precision}g" % value
        try:
            if struct.pack(form, float(text)) == struct.pack(form, value):
                return text
        except OverflowError:  # rounded to more than a float holds
            pass
    return f"%.{digits}g" % value


def date_text(days):
    """A day since 1970-01-01, of any year, by counting years from March 1st."""
    era, day = divmod(days + 719468, 146097)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5
    year += 400 * era + (month >= 10)
    month += 3 if month < 10 else -9
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day + 1:02d}"


def clock_text(usec):
    seconds, usec = divmod(usec, 10**6)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return text + f".{usec:06d}".rstrip("0") if usec else text


def moment_text(usec):
    days, usec = divmod(usec, DAY)
    return date_text(days) + "T" + clock_text(usec)


BEYOND_PYTHON = {
    "date": date_text,
    "time-micros": clock_text,
    "timestamp-millis": lambda n: moment_text(n * 1000) + "Z",
    "timestamp-micros": lambda n: moment_text(n) + "Z",
}


def iso(value):
    """What the library makes of dates and times, without zeros at the end of a fraction."""
    zone = ""
    if isinstance(value, datetime.datetime):
        value, zone = value.astimezone(datetime.timezone.utc).replace(tzinfo=None), "Z"
    text = value.isoformat()
    return (text.rstrip("0") if "." in text else text) + zone


def text_of(value, schema):
    """A value as read by the library, which may have passed through here already, as JSON."""
    if isinstance(value, (datetime.date, datetime.time)):
        return iso(value)
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        if value == 0 and Reader.avrocat:
            return "0"
        return number(value, *((9, "<f") if schema.type == "float" else (17, "<d")))
    if isinstance(value, int) and not isinstance(value, bool):
        # the one logical type that this library does not know
        if schema.get_prop("logicalType") == "local-timestamp-micros":
            return moment_text(value)
        return str(value)
    return value


class Reader(avro.io.DatumReader):
    avrocat = False

    def _read(self, writers, readers, decoder):
        if self.avrocat and writers.type == "bytes":
            return decoder.read_bytes().split(b"\0")[0]
        start = decoder.reader.tell()
        try:
            return super().read_data(writers, readers, decoder)
        except (ValueError, OverflowError):
            beyond = BEYOND_PYTHON.get(writers.get_prop("logicalType"))
            if beyond is None or writers.type not in ("int", "long"):
                raise
        decoder.reader.seek(start)
        return beyond(decoder.read_long())

    def read_data(self, writers_schema, readers_schema, decoder):
        if self.writers_schema is None:  # the head, which is the library's own
            return super().read_data(writers_schema, readers_schema, decoder)
        value = self._read(writers_schema, readers_schema, decoder)
        top = self.writers_schema
        if top.type == "union" and isinstance(value, dict) and writers_schema in top.schemas:
            value.setdefault("_type", getattr(writers_schema, "fullname", None))
        return text_of(value, writers_schema)


def main(path):
    warnings.simplefilter("ignore")
    Reader.avrocat = "--avrocat" in sys.argv
    with open(path, "rb") as file:
        for record in avro.datafile.DataFileReader(file, Reader()):
            print(json.dumps(record))


if __name__ == "__main__":
    try:
        main(sys.argv[-1])
    except Exception as error:  # whatever the library makes of a bad file
        sys.stdout.flush()
        sys.exit(f"{sys.argv[-1]}: {type(error).__name__}: {error}")
