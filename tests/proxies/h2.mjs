// node h2.mjs URL TARGET: polls by HTTP/2; a line on stdin cancels the stream, as a closed tab does whose browser has others.
import http2 from "node:http2";

const [url, target] = process.argv.slice(2);
const session = http2.connect(url, { rejectUnauthorized: false });
const poll = session.request({ ":path": target });
poll.on("error", () => {});
session.on("error", () => process.exit(1));
process.stdin.once("data", () => poll.close(http2.constants.NGHTTP2_CANCEL));
process.stdin.once("end", () => process.exit(0));
