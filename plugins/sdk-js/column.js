/** Columns of a batch: views and builders over the contract's flat buffers. */
import { decodeUtf8, encodeUtf8, toBinaryString } from "./utf8.js";

const ARRAYS = {
  int32: Int32Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
  vector: Float32Array,
  timestamp: BigInt64Array,
};

function bit(bits, row) {
  return ((bits[row >> 3] >> (row & 7)) & 1) === 1;
}

/** A column that comes in. */
export class Column {
  #validity;
  #offsets;
  #data;
  #at;

  constructor(field, rows, { validity, offsets, data }) {
    /** Its name, kind, and a vector's dim. */
    this.field = field;
    this.rows = rows;
    this.#validity = validity ?? null;
    this.#offsets = offsets;
    this.#data = data;
    this.#at = this.#reader(field);
  }

  /** Whether a row is null. */
  isNull(row) {
    return this.#validity !== null && !bit(this.#validity, row);
  }

  /** The value of a row. Bytes and vectors are views: copy what is to outlive the call. */
  get(row) {
    return this.isNull(row) ? null : this.#at(row);
  }

  #reader({ kind, dim }) {
    const data = this.#data;
    const offsets = this.#offsets;
    if (kind === "boolean") return (row) => bit(data, row);
    if (kind === "binary") return (row) => data.subarray(offsets[row], offsets[row + 1]);
    if (kind === "utf8") return this.#textReader();
    const values = numbersOf(ARRAYS[kind], data);
    if (kind === "vector") return (row) => values.subarray(row * dim, (row + 1) * dim);
    return (row) => values[row];
  }

  /** Decodes all rows at once, when the first is asked for. */
  #textReader() {
    const offsets = this.#offsets;
    let bytes;
    let ascii;
    return (row) => {
      if (bytes === undefined) {
        bytes = toBinaryString(this.#data);
        const text = decodeUtf8(bytes);
        ascii = text.length === bytes.length;
      }
      const row_bytes = bytes.substring(offsets[row], offsets[row + 1]);
      return ascii ? row_bytes : decodeUtf8(row_bytes);
    };
  }
}

/** Numbers over bytes, which are copied only where they are not aligned. */
function numbersOf(NumberArray, data) {
  const width = NumberArray.BYTES_PER_ELEMENT;
  const aligned = data.byteOffset % width === 0 ? data : data.slice();
  return new NumberArray(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / width));
}

/** A column that goes out. */
export class Builder {
  #field;
  #values = [];
  #hasNull = false;

  constructor(field) {
    this.#field = field;
  }

  /** Appends a row; null and undefined are null. */
  push(value) {
    this.#hasNull ||= value === null || value === undefined;
    this.#values.push(value ?? null);
  }

  /** The contract's `column`. */
  finish() {
    const validity = this.#hasNull ? bitmap(this.#values, (value) => value !== null) : null;
    switch (this.#field.kind) {
      case "boolean":
        return { validity, offsets: [], data: bitmap(this.#values, Boolean) };
      case "utf8":
        return { validity, ...this.#texts() };
      case "binary":
        return { validity, ...this.#bytes() };
      default:
        return { validity, offsets: [], data: this.#numbers() };
    }
  }

  #numbers() {
    const { kind, dim } = this.#field;
    const width = kind === "vector" ? dim : 1;
    const numbers = new ARRAYS[kind](this.#values.length * width);
    const number = numbers instanceof BigInt64Array ? BigInt : Number;
    this.#values.forEach((value, row) => {
      if (value === null) return;
      if (kind !== "vector") numbers[row] = number(value);
      else if (value.length === dim) numbers.set(value, row * dim);
      else throw new RangeError(`a vector of ${value.length} numbers in column \`${this.#field.name}\` of ${dim}`);
    });
    return new Uint8Array(numbers.buffer);
  }

  #texts() {
    const all = this.#values.join("");
    let data = encodeUtf8(all);
    // ASCII: a text has as many bytes as characters.
    let lengths = this.#values;
    if (data.length !== all.length) {
      lengths = this.#values.map((text) => encodeUtf8(text ?? ""));
      data = concat(lengths);
    }
    return { offsets: offsetsOf(lengths), data };
  }

  #bytes() {
    const parts = this.#values.map((value) => value ?? new Uint8Array());
    return { offsets: offsetsOf(parts), data: concat(parts) };
  }
}

function bitmap(values, isSet) {
  const bits = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, row) => {
    if (isSet(value)) bits[row >> 3] |= 1 << (row & 7);
  });
  return bits;
}

function offsetsOf(parts) {
  const offsets = [0];
  let end = 0;
  for (const part of parts) offsets.push((end += part?.length ?? 0));
  return offsets;
}

function concat(parts) {
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    data.set(part, end);
    end += part.length;
  }
  return data;
}
