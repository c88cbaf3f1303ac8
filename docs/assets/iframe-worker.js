// Browsers start no workers for pages that are opened from the disk, and the search of this site runs in one. Here a
// hidden frame stands in for it: the same messages, the same script, another thread's place.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.frame = frame;
      window.addEventListener("message", (event) => {
        if (event.source === frame.contentWindow) this.dispatch(event.data);
      });
      const inner = frame.contentDocument;
      inner.open();
      inner.write(`<script>
        postMessage = (data) => parent.postMessage(data, "*");
        importScripts = async (...urls) => {
          for (const url of urls)
            await new Promise((done, failed) => {
              const script = document.createElement("script");
              script.src = url; script.onload = done; script.onerror = failed;
              document.head.append(script);
            });
        };
      <\/script>`);
      this.ready = new Promise((done) => {
        const script = inner.createElement("script");
        script.src = url;
        script.onload = done;
        inner.head.append(script);
      });
      inner.close();
    }
    dispatch(data) {
      const event = new MessageEvent("message", { data });
      this.onmessage?.(event);
      this.dispatchEvent(event);
    }
    async postMessage(data) {
      await this.ready;
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
    terminate() {
      this.frame.remove();
    }
  };
